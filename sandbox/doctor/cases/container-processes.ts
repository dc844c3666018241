/** Cases 33 to 35 and 60 to 62: plugins of a container against other processes, streams, PID 1 and noexec. */
import { randomBytes } from 'node:crypto';
import { ends, hunt, type PluginCase } from '../case.ts';
import { ALL, native, TINY_ELF } from './native.ts';
import { TAKEN_RUNNER } from './taken-runner.ts';

const runtimes = ['runc', 'runsc'] as const;
/** Nobody else's processes have it in their command line. */
const DAEMON = `flowops-doctor-daemon-${randomBytes(8).toString('hex')}`;

export const PROCESS_CASES: readonly PluginCase[] = [
  {
    kind: 'plugin',
    id: '33',
    title: 'other processes show nothing, and no variable of ours is there',
    runtimes,
    attempts: [
      native(
        hunt(
          'environments and command lines',
          `const mine = new Set(['PATH', 'HOME', 'HOSTNAME', 'NODE_VERSION', 'PWD', 'SHLVL', 'TMPDIR', 'LANG', 'TERM', '_']);
           for (const pid of fs.readdirSync('/proc').filter((n) => /^\\d+$/.test(n))) {
             for (const file of ['environ', 'cmdline']) try {
               const text = fs.readFileSync('/proc/' + pid + '/' + file, 'latin1');
               for (const word of text.split('\\0')) if (/canary|REDIS|KAFKA|SECRETS_DIR|FLOWOPS|SANDBOX_/i.test(word)) found.push([pid, file, word]);
             } catch {}
             if (Number(pid) === 1) for (const file of ['environ', 'mem', 'maps']) try { const f = fs.openSync('/proc/1/' + file, 'r+'); fs.closeSync(f); found.push('opened /proc/1/' + file); } catch {}
             try { const to = fs.readlinkSync('/proc/' + pid + '/root'); if (to !== '/') found.push(to); } catch {}
           }
           for (const name of Object.keys(process.env)) if (!mine.has(name)) found.push('variable ' + name);`,
        ),
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '34',
    title: 'frames, floods and silence on the streams of the container end the step and nothing else',
    runtimes,
    // What it prints goes nowhere. On its runner's own descriptor it ends its own connection: no limit explains such an
    // end, so it is a crash, and the plugin's.
    attempts: ({ runtime }) => [
      native(
        ends(
          'a flood on stdout and stderr',
          'COMPLETED',
          "const b = Buffer.alloc(1e6, 'x'); for (let i = 0; i < 10; i++) for (const fd of [1, 2]) try { fs.writeSync(fd, b); } catch {} return {};",
          { limits: { wallMs: 20_000 } },
        ),
      ),
      native(
        ends(
          'a flood where its runner answers',
          'SANDBOX_CRASHED',
          "const b = Buffer.alloc(1e6, 'x'); for (let i = 0; i < 200; i++) for (const fd of [3, 4, 5]) try { fs.writeSync(fd, b); } catch {} return {};",
        ),
      ),
      native(
        ends(
          'frames of its own',
          'SANDBOX_CRASHED',
          'const f = Buffer.from([255, 255, 255, 255, 1, 2, 3]); for (const fd of [1, 3, 4, 5, 6, 7]) for (let i = 0; i < 3; i++) try { fs.writeSync(fd, i === 1 ? Buffer.alloc(4) : f); } catch {} return {};',
        ),
      ),
      native(
        ends(
          'every descriptor closed',
          'SANDBOX_CRASHED',
          'for (let fd = 0; fd < 64; fd++) try { fs.closeSync(fd); } catch {} return {};',
        ),
      ),
      // What a host makes of frames does not depend on the runtime they come from.
      ...(runtime === 'runc' ? TAKEN_RUNNER : TAKEN_RUNNER.slice(0, 2)),
    ],
  },
  {
    kind: 'plugin',
    id: '35',
    title: 'a step that ignores SIGTERM or leaves a daemon behind is gone with its container',
    runtimes,
    attempts: [
      native(
        ends(
          'signals ignored, stopped',
          'CANCELLED',
          "for (const s of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']) process.on(s, () => {}); await new Promise(() => {});",
          {
            stopAfterMs: 500,
            limits: { wallMs: 20_000 },
          },
        ),
      ),
      native({
        what: 'a daemon of a daemon',
        // Its first line shows that it runs.
        body: `const daemon = "console.log('up');process.on('SIGTERM',()=>{});setInterval(()=>{},1e6)";
          const parent = "process.on('SIGTERM',()=>{});require('child_process').spawn(process.execPath,['-e',process.argv[1],'${DAEMON}'],{detached:true,stdio:'inherit'}).unref();setInterval(()=>{},1e6)";
          const child = spawn(process.execPath, ['-e', parent, daemon, '${DAEMON}'], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
          child.unref(); await new Promise((r) => child.stdout.once('data', r)); return { o: 'up' };`,
        outputs: { o: 'string' },
        limits: { wallMs: 20_000 },
        marker: DAEMON,
        expect: { endings: ['COMPLETED'], outputs: { o: 'up' } },
      }),
    ],
  },
  {
    kind: 'plugin',
    id: '60',
    title: 'no program runs out of memory files, /dev/shm or /proc/self/fd',
    runtimes,
    attempts: [
      native(
        hunt(
          'ways around noexec',
          `const elf = Buffer.from('${TINY_ELF}', 'base64');
           for (const file of ['/dev/shm/elf', '/run/elf', '/var/tmp/elf', '/dev/mqueue/elf']) try { fs.writeFileSync(file, elf, { mode: 0o755 }); if (spawnSync(file).status === 42) found.push(file); } catch {}
           fs.writeFileSync('/tmp/elf2', elf, { mode: 0o755 });
           const fd = fs.openSync('/tmp/elf2', 'r');
           for (const path of ['/proc/self/fd/' + fd, '/proc/' + process.pid + '/fd/' + fd, '/dev/fd/' + fd, '/proc/self/root/tmp/elf2', '/proc/self/cwd/elf2']) if (spawnSync(path, [], { cwd: '/tmp', stdio: ['ignore', 'ignore', 'ignore', fd] }).status === 42) found.push(path);
           for (const loader of ['/lib64/ld-linux-x86-64.so.2', '/lib/ld-linux-aarch64.so.1']) if (spawnSync(loader, ['/tmp/elf2']).status === 42) found.push(loader);
           if (fs.readdirSync('/proc/self/fd').some((n) => { try { return fs.readlinkSync('/proc/self/fd/' + n).startsWith('/memfd:'); } catch { return false; } })) found.push('a memory file is open');`,
        ),
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '61',
    title: 'PID 1 cannot be read, traced, stopped or killed',
    runtimes,
    attempts: ({ runtime }) => [
      native(
        hunt(
          'its memory and files',
          // gVisor shows these to processes of the same user. PID 1 has nothing in them that its plugin has not (case 33).
          `for (const file of ['mem', 'stack', 'syscall', 'personality', ...${runtime === 'runsc' ? '[]' : "['environ', 'maps', 'auxv']"}]) try { const f = fs.openSync('/proc/1/' + file, 'r'); const b = Buffer.alloc(16); if (fs.readSync(f, b) > 0) found.push('read ' + file); fs.closeSync(f); } catch {}
           for (const file of ['mem', 'coredump_filter']) try { const f = fs.openSync('/proc/1/' + file, 'r+'); fs.closeSync(f); found.push('opened ' + file + ' to write'); } catch {}
           // Anybody may open these; the kernel looks at who writes.
           for (const [file, text] of [['clear_refs', '1'], ['attr/exec', 'x'], ['oom_score_adj', '-1000'], ['comm', 'x']]) try { fs.writeFileSync('/proc/1/' + file, text); found.push('wrote ' + file); } catch {}
           try { fs.readFileSync('/init'); found.push('read /init'); } catch {}`,
        ),
        ALL,
      ),
      native(
        hunt(
          'signals',
          `for (const signal of ['SIGKILL', 'SIGSTOP', 'SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGSEGV']) try { process.kill(1, signal); } catch {}
           await new Promise((r) => setTimeout(r, 200));
           const state = /^State:\\t(\\w)/m.exec(fs.readFileSync('/proc/1/status', 'utf8'))?.[1];
           if (state === 'T' || state === 't' || state === 'Z') found.push('state ' + state);`,
          // gVisor delivers SIGKILL to PID 1: a plugin there can end its own container, which is all that it ends.
          runtime === 'runsc' ? { expect: { endings: ['SANDBOX_CRASHED'] } } : {},
        ),
        ALL,
      ),
      // gVisor delivers SIGSTOP too. Who stopped PID 1 is not served any longer than its wall limit.
      native(
        ends(
          'SIGSTOP, and on and on',
          'LIMIT_WALL',
          "try { process.kill(1, 'SIGSTOP'); } catch {} await new Promise(() => {});",
        ),
        ALL,
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '62',
    title: 'a step that kills its runner or drops its streams ends, and nothing of it stays',
    runtimes,
    attempts: [
      native(
        ends(
          'kills everything it can, itself last',
          'SANDBOX_CRASHED',
          "for (const pid of fs.readdirSync('/proc').filter((n) => /^\\d+$/.test(n) && Number(n) !== process.pid)) try { process.kill(Number(pid), 'SIGKILL'); } catch {} process.kill(process.pid, 'SIGKILL'); await new Promise(() => {});",
        ),
      ),
      native(
        ends(
          'stops everything it can',
          'LIMIT_WALL',
          "for (const pid of fs.readdirSync('/proc').filter((n) => /^\\d+$/.test(n) && Number(n) !== process.pid)) try { process.kill(Number(pid), 'SIGSTOP'); } catch {} process.kill(process.pid, 'SIGSTOP'); await new Promise(() => {});",
        ),
      ),
      native(
        ends(
          'leaves a child with its streams',
          'COMPLETED',
          `spawn(process.execPath, ['-e', 'setInterval(()=>{},1e6)', '${DAEMON}'], { detached: true, stdio: 'inherit' }).unref(); for (const fd of [0, 1, 2]) try { fs.closeSync(fd); } catch {} return {};`,
          { marker: DAEMON },
        ),
      ),
      native(ends('exits', 'SANDBOX_CRASHED', 'process.reallyExit(0); await new Promise(() => {});')),
      native(ends('aborts', 'SANDBOX_CRASHED', "process.kill(process.pid, 'SIGABRT'); await new Promise(() => {});")),
    ],
  },
];
