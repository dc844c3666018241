/**
 * Cases 25 to 32: plugins with all of Node in a step container. What only a native program could try
 * (system calls by number) is tried by the tests of the image; here is what a bundle can bring along.
 */
import { ends, hunt, type PluginCase } from '../case.ts';
import { native, TINY_ELF } from './native.ts';

const runtimes = ['runc', 'runsc'] as const;
const o = { o: 'json' } as const;
const FILTER = native(
  hunt(
    'a filter is on',
    "if (!/^Seccomp:\\t2$/m.test(fs.readFileSync('/proc/self/status', 'utf8'))) found.push('no seccomp filter');",
  ),
);

/** What a container may see of /dev: nothing in it is the host's. */
const DEVICES = [
  'core',
  'fd',
  'full',
  'mqueue',
  'null',
  'ptmx',
  'pts',
  'random',
  'shm',
  'stderr',
  'stdin',
  'stdout',
].concat(['tty', 'urandom', 'zero']);
/** Made by gVisor itself, for every container; the host's devices of these names are not behind them. */
const DEVICES_OF_GVISOR = ['fuse', 'net'];

export const CONTAINER_CASES: readonly PluginCase[] = [
  {
    kind: 'plugin',
    id: '25',
    title: 'a fork bomb meets the limit of processes',
    runtimes,
    attempts: [
      native(
        ends(
          'node that starts node',
          // The limit of processes ends nothing: it keeps the bomb small until another limit does, memory as a rule.
          ['LIMIT_WALL', 'LIMIT_MEMORY', 'LIMIT_CPU'],
          `const bomb = "const{spawn}=require('child_process');for(;;){try{spawn(process.execPath,['-e',process.argv[1]||''],{stdio:'ignore'}).on('error',()=>{})}catch{}}";
           for (;;) { try { spawn(process.execPath, ['-e', bomb, bomb], { stdio: 'ignore', detached: true }).on('error', () => {}); } catch {} await new Promise((r) => setTimeout(r, 1)); }`,
        ),
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '26',
    title: 'a thread bomb meets the limit of processes',
    runtimes,
    attempts: [
      native(
        ends(
          'workers without end',
          // Memory as a rule. V8 gives up its own process when it gets no thread, which is a crash.
          ['LIMIT_WALL', 'LIMIT_MEMORY', 'LIMIT_CPU', 'SANDBOX_CRASHED'],
          "for (;;) { try { new Worker('for(;;);', { eval: true }).on('error', () => {}); } catch {} await new Promise((r) => setTimeout(r, 1)); }",
        ),
        "import { Worker } from 'node:worker_threads';",
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '27',
    title: 'memory beyond the limit ends with LIMIT_MEMORY, also in tmpfs',
    runtimes,
    attempts: ({ runtime }) => [
      native(
        ends('buffers', 'LIMIT_MEMORY', 'const a = []; for (;;) { a.push(Buffer.alloc(8e6, 1)); await null; }', {
          limits: { wallMs: 20_000 },
        }),
      ),
      native(
        ends(
          'a child that hoards',
          // The kernel kills the child alone, and the step goes on; a gVisor that is out of memory ends as a whole.
          runtime === 'runsc' ? 'LIMIT_MEMORY' : 'COMPLETED',
          `spawnSync(process.execPath, ['--max-old-space-size=4096', '-e', 'const a=[];for(;;)a.push(Buffer.alloc(8e6,1))']); return {};`,
          { limits: { wallMs: 20_000 } },
        ),
      ),
      native({
        what: 'files in /tmp',
        body: "for (let i = 0; i < 64; i++) { try { fs.writeFileSync('/tmp/f' + i, Buffer.alloc(4e6, 1)); } catch (e) { return { o: e.code }; } } return { o: 'all' };",
        outputs: o,
        limits: { wallMs: 20_000 },
        expect: { endings: ['COMPLETED'], outputs: { o: 'ENOSPC' } },
      }),
    ],
  },
  {
    kind: 'plugin',
    id: '28',
    title: '/tmp is full at its size and its number of files',
    runtimes,
    attempts: ({ runtime }) => [
      native({
        what: 'one large file',
        body: "let n = 0; try { const f = fs.openSync('/tmp/x', 'w'); for (; n < 100; n++) { if (fs.writeSync(f, Buffer.alloc(1e6)) < 1e6) break; } } catch (e) { return { o: [n < 20, ['ENOSPC', 'EFBIG'].includes(e.code)] }; } return { o: [n < 20, true] };",
        outputs: o,
        expect: { endings: ['COMPLETED'], outputs: { o: [true, true] } },
      }),
      native({
        what: 'many small ones',
        body: "let n = 0; try { for (; n < 1e6; n++) fs.writeFileSync('/tmp/' + n, ''); } catch (e) { return { o: e.code }; } return { o: n };",
        outputs: o,
        limits: { wallMs: 30_000 },
        // gVisor counts no inodes: there it is memory that ends them.
        expect:
          runtime === 'runsc' ? { endings: ['LIMIT_MEMORY'] } : { endings: ['COMPLETED'], outputs: { o: 'ENOSPC' } },
      }),
    ],
  },
  {
    kind: 'plugin',
    id: '29',
    title: 'nothing else can be written, nothing in /tmp can be run, nobody becomes root',
    runtimes,
    attempts: [
      native(
        hunt(
          'writes',
          `for (const dir of ['/', '/etc', '/usr/local/bin', '/runner', '/proc', '/sys', '/dev', '/dev/shm', '/var', '/home', '/root', '/run']) {
             try { fs.writeFileSync(dir + '/flowops-doctor', 'x'); found.push(dir); } catch {}
           }
           for (const file of ['/etc/passwd', '/init', '/runner/runner.cjs', process.execPath]) try { fs.appendFileSync(file, 'x'); found.push(file); } catch {}`,
        ),
      ),
      native(
        hunt(
          'programs in /tmp',
          `fs.writeFileSync('/tmp/elf', Buffer.from('${TINY_ELF}', 'base64'), { mode: 0o755 });
           const ran = spawnSync('/tmp/elf'); if (ran.status === 42) found.push('elf');
           fs.writeFileSync('/tmp/sh', '#!' + process.execPath + '\\nprocess.exit(43)', { mode: 0o755 });
           const script = spawnSync('/tmp/sh'); if (script.status === 43) found.push('script');
           fs.writeFileSync('/tmp/x.node', Buffer.from('${TINY_ELF}', 'base64'));
           try { process.dlopen({ exports: {} }, '/tmp/x.node'); found.push('dlopen'); } catch {}`,
        ),
      ),
      native(
        hunt(
          'other users',
          `for (const call of ['setuid(0)', 'setgid(0)', 'setgroups([0])', 'initgroups(0, 0)']) if (spawnSync(process.execPath, ['-e', 'process.' + call]).status === 0) found.push(call);
           if (process.getuid() === 0) found.push('root');
           const status = fs.readFileSync('/proc/self/status', 'utf8');
           if (!/^CapEff:\\t0+$/m.test(status)) found.push('capabilities');
           if (/^NoNewPrivs:\\t0$/m.test(status)) found.push('new privileges');`,
        ),
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '30',
    title: 'tools of namespaces, mounts and tracing are not there or not let work',
    runtimes,
    attempts: ({ runtime }) => [
      native(
        hunt(
          'programs that would call them',
          `for (const [file, args] of [['unshare', ['-U', 'true']], ['mount', ['-t', 'tmpfs', 'x', '/tmp']], ['nsenter', ['-t', '1', '-a', 'true']], ['strace', ['true']], ['gdb', ['-v']], ['bpftool', ['prog']], ['keyctl', ['show']], ['chroot', ['/', 'true']]]) {
             const ran = spawnSync(file, args); if (ran.status === 0) found.push(file);
           }
           for (const ns of ['user', 'net', 'mnt', 'pid']) try { fs.writeFileSync('/proc/self/' + (ns === 'user' ? 'uid_map' : 'attr/current'), '0 0 1'); found.push(ns); } catch {}`,
        ),
      ),
      // gVisor filters by itself and shows no filter inside.
      ...(runtime === 'runc' ? [FILTER] : []),
      native(
        hunt(
          'io_uring by libuv',
          `const ran = spawnSync(process.execPath, ['-e', "require('fs').readFile('/etc/passwd',()=>{const r=require('fs').readdirSync('/proc/self/fd').map(f=>{try{return require('fs').readlinkSync('/proc/self/fd/'+f)}catch{return ''}});process.exit(r.some(l=>l.includes('io_uring'))?9:0)})"], { env: { UV_USE_IO_URING: '1' } });
           if (ran.status === 9) found.push('io_uring');`,
        ),
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '31',
    title: 'no socket of Docker, no file of the kernel, no device of the host',
    runtimes,
    attempts: ({ runtime }) => [
      native(
        hunt(
          'what there is to reach',
          `for (const file of ['/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock']) {
             if (fs.existsSync(file)) found.push(file);
           }
           const devices = ${JSON.stringify([...DEVICES, ...(runtime === 'runsc' ? DEVICES_OF_GVISOR : [])])};
           for (const name of fs.readdirSync('/dev')) if (!devices.includes(name)) found.push('/dev/' + name);
           for (const file of ['/proc/kcore', '/proc/kmsg', '/proc/keys', '/proc/timer_list', '/proc/sched_debug', '/sys/kernel/debug/tracing/trace', '/sys/firmware/efi']) {
             try { const f = fs.openSync(file); const b = Buffer.alloc(64); if (fs.readSync(f, b) > 0 && b.some((x) => x !== 0)) found.push('read ' + file); fs.closeSync(f); } catch {}
           }
           for (const [file, text] of [['/proc/sysrq-trigger', 'h'], ['/proc/sys/kernel/core_pattern', '|/x'], ['/proc/sys/kernel/modprobe', '/x'], ['/proc/sys/vm/panic_on_oom', '0'], ['/sys/fs/cgroup/release_agent', '/x'], ['/sys/fs/cgroup/memory/release_agent', '/x'], ['/sys/fs/cgroup/memory/memory.limit_in_bytes', '-1'], ['/sys/fs/cgroup/memory.max', 'max'], ['/sys/kernel/uevent_helper', '/x'], ['/sys/power/state', 'mem'], ['/proc/1/oom_score_adj', '-1000']]) {
             try { fs.writeFileSync(file, text); found.push('wrote ' + file); } catch {}
           }`,
        ),
      ),
      native(
        hunt(
          'mounts of the host',
          `for (const line of fs.readFileSync('/proc/self/mounts', 'utf8').trim().split('\\n')) {
             const [from, at, type, options] = line.split(' ');
             const harmless = ['proc', 'sysfs', 'tmpfs', 'devpts', 'mqueue', 'cgroup', 'cgroup2', 'overlay', 'devtmpfs', '9p', 'rootfs', 'none', 'gofer', 'dev', 'lisafs'];
             if (from.startsWith('/dev/') && !['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'].includes(at)) found.push(line);
             else if (!harmless.includes(type) && !from.startsWith('/dev/')) found.push(line);
             if (at === '/' && !/(^|,)ro(,|$)/.test(options)) found.push('root is writable');
           }`,
        ),
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '32',
    title: 'no socket leads anywhere',
    runtimes,
    attempts: ({ forbidden }) => [
      native(
        hunt(
          'connections',
          `const places = [['169.254.169.254', 80], ['127.0.0.1', ${forbidden.split(':')[1]}], ['172.17.0.1', ${forbidden.split(':')[1]}], ['10.0.0.1', 80], ['192.168.0.1', 80], ['1.1.1.1', 53], ['::1', 80], ['fe80::1', 80], ['2606:4700:4700::1111', 53]];
           await Promise.all(places.map(([host, port]) => new Promise((done) => {
             let s; try { s = net.connect({ host, port }); } catch { return done(); }
             s.on('connect', () => { found.push(host); s.destroy(); done(); }).on('error', () => done()); setTimeout(() => { s.destroy(); done(); }, 700);
           })));
           for (const path of ['/var/run/docker.sock', '/run/docker.sock', '\\0/containerd-shim', '/run/dbus/system_bus_socket']) await new Promise((done) => { try { net.connect(path).on('connect', () => { found.push(path); done(); }).on('error', () => done()); } catch { done(); } });
           try { found.push(await Promise.race([dns.lookup('example.com'), new Promise((_, no) => setTimeout(no, 1000))])); } catch {}
           try { const names = Object.keys(os.networkInterfaces()).filter((n) => n !== 'lo'); if (names.length > 0) found.push(names); } catch {}
           await new Promise((done) => { try { const u = dgram.createSocket('udp4'); u.on('error', () => done()); u.send('x', 53, '1.1.1.1', (e) => { if (!e) found.push('udp'); try { u.close(); } catch {} done(); }); } catch { done(); } });`,
          { limits: { wallMs: 10_000 } },
        ),
      ),
    ],
  },
];
