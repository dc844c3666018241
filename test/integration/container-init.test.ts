/**
 * PID 1 of a step container against the code below it, on both runtimes. A guest here does what no plugin of good will
 * does; what is asked each time is whether the container ends when it should, with everything in it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';
import { probeImage } from '../services/docker-probe.ts';
import { type ContainerOptions, NODE, type Runtime, script, TestContainer } from '../support/container.ts';
import { skipBecause } from '../support/skip.ts';

const DEAF = 122;
const HOST_GONE = 123;
const LIFE_OVER = 124;
const WRONG_USE = 125;
const NOT_FOUND = 127;
const KILLED = 128 + 9;
/** Longer than a test may take: what ends a container in these tests is never its life time, unless they say so. */
const LONG_LIFE_SECONDS = 600;

/** Ignores every signal that can be, never reads, never ends, and leaves a daemon that does the same. */
const HOSTILE = `
  import { spawn } from 'node:child_process';
  import { constants, openSync } from 'node:fs';
  import { constants as os } from 'node:os';
  const deaf = (names) => { for (const name of names) try { process.on(name, () => {}); } catch {} };
  deaf(Object.keys(os.signals));
  const daemon = 'for (const name of Object.keys(process.binding ? require("os").constants.signals : {})) ' +
    'try { process.on(name, () => {}) } catch {} setInterval(() => {}, 1000)';
  spawn(process.execPath, ['-e', daemon, 'flowops-daemon-' + process.argv[1]], { detached: true, stdio: 'ignore' }).unref();
  // More writers and readers on every pipe that can be had: it would hang up for none of them.
  const held = [];
  for (const pid of ['self', '1']) for (const fd of [0, 1, 2, 3, 4]) for (const flag of [constants.O_RDONLY, constants.O_WRONLY, constants.O_RDWR])
    try { held.push(openSync('/proc/' + pid + '/fd/' + fd, flag | constants.O_NONBLOCK)); } catch {}
  console.log('hostile');
  setInterval(() => {}, 1000);
`;

let service: DockerService;
let image: string;
const containers = new Set<TestContainer>();

beforeAll(async () => {
  service = await startDocker();
  image = await probeImage(service);
}, 300_000);
afterAll(() => service?.stop());
afterEach(async () => {
  await Promise.all([...containers].map((container) => container.remove()));
  containers.clear();
});

describe.each<Runtime>(['runc', 'runsc'])('the init of a step container on %s', (runtime) => {
  const start = (options: Omit<ContainerOptions, 'service' | 'runtime'>): TestContainer => {
    const container = new TestContainer({ service, runtime, image, ...options });
    containers.add(container);
    return container;
  };

  it('passes on how the runner ended: its exit code, or 128 and its signal', async (context) => {
    needs(runtime, context);
    const exits = start({ program: script('process.exit(7)') });
    const dies = start({ program: script('process.kill(process.pid, "SIGKILL")') });
    const missing = start({ program: ['/no-such-program'] });
    expect(await Promise.all([exits.ended(), dies.ended(), missing.ended()])).toEqual([7, KILLED, NOT_FOUND]);
    expect(missing.stderr).toContain('cannot start /no-such-program');
  });

  it('refuses a life time that is none', async (context) => {
    needs(runtime, context);
    const wrong = ['0', '-1', 'x', '10x', '', '9999999'].map((lifeSeconds) => start({ lifeSeconds, program: [NODE] }));
    expect(await Promise.all(wrong.map((container) => container.ended()))).toEqual(wrong.map(() => WRONG_USE));
  });

  it('brings the host bytes on descriptor 3, its answers from 4, and keeps prints apart from them', async (context) => {
    needs(runtime, context);
    const echo = `
      import net from 'node:net';
      import fs from 'node:fs';
      console.log('a print');
      new net.Socket({ fd: 3 }).on('data', (data) => fs.writeSync(4, String(data).toUpperCase()));
      process.stdin.on('end', () => console.log('stdin is empty')).resume();
    `;
    const container = start({ program: script(echo) });
    await container.shows('stdin is empty');
    container.send('hello');
    await container.shows('HELLO');
    // More than a pipe, a socket and the buffer of the init hold together.
    container.send('x'.repeat(3_000_000));
    container.send('end');
    await container.shows('END');
    expect(container.stdout).toBe(`HELLO${'X'.repeat(3_000_000)}END`);
    expect(container.stderr).toContain('a print');
  });

  it('ends a container whose host has died, whatever the guest does meanwhile', async (context) => {
    needs(runtime, context);
    const container = start({ lifeSeconds: LONG_LIFE_SECONDS, program: [...script(HOSTILE), containerMark(runtime)] });
    await container.shows('hostile');
    await container.killHost();
    expect(await container.ended()).toBe(HOST_GONE);
    expect(processesWith(`flowops-daemon-${containerMark(runtime)}`)).toEqual([]);
  });

  it('ends a container whose guest has closed all its descriptors when the host dies', async (context) => {
    needs(runtime, context);
    const drops = `
      import fs from 'node:fs';
      console.log('drops');
      for (let fd = 0; fd <= 4; fd++) fs.closeSync(fd);
      setInterval(() => {}, 1000);
    `;
    const container = start({ lifeSeconds: LONG_LIFE_SECONDS, program: script(drops) });
    await container.shows('drops');
    container.send('x'.repeat(1_000_000));
    expect(await container.isRunning()).toBe(true);
    await container.killHost();
    expect(await container.ended()).toBe(HOST_GONE);
  });

  it('ends a container whose guest takes nothing, since the end of its host could not be seen behind full pipes', async (context) => {
    needs(runtime, context);
    const container = start({ lifeSeconds: LONG_LIFE_SECONDS, program: script(HOSTILE) });
    await container.shows('hostile');
    // More than the pipes and buffers in between take.
    container.send('x'.repeat(5_000_000));
    expect(await container.ended()).toBe(DEAF);
  });

  it('ends a hostile container at its life time, with the host still there', async (context) => {
    needs(runtime, context);
    const container = start({ lifeSeconds: 3, program: script(HOSTILE) });
    await container.shows('hostile');
    expect(await container.ended()).toBe(LIFE_OVER);
  });

  it('takes the daemons of the runner with it', async (context) => {
    needs(runtime, context);
    const mark = `flowops-daemon-ends-${process.pid}-${runtime}`;
    const leaves = `
      import { spawn } from 'node:child_process';
      const inner = 'require("child_process").spawn(process.execPath, ["-e", "setInterval(()=>{},1000)", "${mark}"], { detached: true, stdio: "ignore" }).unref()';
      spawn(process.execPath, ['-e', inner], { stdio: 'ignore' }).on('exit', () => process.exit(0));
    `;
    const container = start({ program: script(leaves) });
    expect(await container.ended()).toBe(0);
    expect(processesWith(mark)).toEqual([]);
  });

  it('reaps what the runner leaves behind', async (context) => {
    needs(runtime, context);
    const orphans = `
      import { spawnSync } from 'node:child_process';
      import fs from 'node:fs';
      for (let i = 0; i < 10; i++) spawnSync('/probe', ['orphans']);
      const others = () => fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name) && name !== '1' && name !== String(process.pid));
      while (others().length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
      console.log('all reaped');
    `;
    const container = start({ program: script(orphans) });
    await container.shows('all reaped');
    expect(await container.ended()).toBe(0);
  });

  it('cannot be traced or read', async (context) => {
    needs(runtime, context);
    const container = start({ program: ['/probe', 'init'] });
    await container.shows('end ok');
    expect(await container.ended()).toBe(0);
    const results = resultsOf(container.stderr);
    const denied = ['ptrace-attach', 'ptrace-seize', 'process_vm_readv', '/proc/1/mem', '/proc/1/mem-write'];
    // gVisor shows these to the same uid: the first two hold nothing, the last is the guest's own input.
    if (runtime === 'runc')
      denied.push('/proc/1/environ', '/proc/1/maps', '/proc/1/fd/0', '/proc/1/fd/0-write', '/proc/1/fd/1');
    for (const name of denied)
      expect(results, name).toMatchObject({ [name]: expect.stringMatching(/^(EPERM|EACCES|ENOSYS)$/) });
  });

  it('is not stopped by a guest that stops it', async (context) => {
    needs(runtime, context);
    // runc's kernel drops the signal, and the life time ends it; on gVisor the init is stopped and then killed by its timer.
    const stops = `${HOSTILE} process.kill(1, 'SIGSTOP'); console.log('stopped it');`;
    const container = start({ lifeSeconds: 4, program: script(stops) });
    await container.shows('stopped it');
    expect(await container.ended()).toBe(runtime === 'runc' ? LIFE_OVER : KILLED);
  });

  it('cannot be killed so that its guest stays', async (context) => {
    needs(runtime, context);
    const kills = `
      for (let signal = 1; signal <= 64; signal++) if (signal !== 19) try { process.kill(1, signal); } catch {}
      setTimeout(() => process.exit(7), 1000);
    `;
    const container = start({ program: script(kills) });
    // Not touched on runc; on gVisor the container is gone, which is what its guest could have had by leaving.
    expect(await container.ended()).toBe(runtime === 'runc' ? 7 : KILLED);
  });
});

function needs(runtime: Runtime, context: TestContext): void {
  if (!service.runtimes.includes(runtime)) skipBecause(context, `the Docker daemon has no runtime ${runtime}`);
}

function containerMark(runtime: Runtime): string {
  return `${process.pid}-${runtime}`;
}

function resultsOf(text: string): Record<string, string> {
  const pairs = text.split('\n').map((line) => line.trim().split(' '));
  return Object.fromEntries(pairs.filter((pair) => pair.length === 2));
}

/** Processes of this machine with that word in their command line; a daemon elsewhere is not seen. */
function processesWith(word: string): readonly string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(word);
    } catch {
      return false;
    }
  });
}
