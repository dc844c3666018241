import { describe, expect, it } from 'vitest';
import { DockerDaemon } from '../../../../sandbox/container/daemon.ts';
import { FakeDocker, IMAGE } from './fake-docker.ts';

const never = new AbortController().signal;
const log = { info: () => {}, warn: () => {}, debug: () => {} };

function makeDaemon(options: { waitForReturnMs?: number } = {}) {
  const docker = new FakeDocker();
  let connections = 0;
  const daemon = new DockerDaemon({
    engine: docker,
    image: 'step-runner',
    imageAdvice: { build: 'npm run image', setting: 'SANDBOX_IMAGE' },
    log,
    onConnected: () => connections++,
    waitForReturnMs: options.waitForReturnMs ?? 60_000,
  });
  return { docker, daemon, connections: () => connections };
}

/** Everything that is due has happened. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('the Docker daemon', () => {
  it('is not asked for anything before somebody needs it', async () => {
    const { docker, daemon } = makeDaemon();
    await settled();
    expect([docker.calls, daemon.peek(), daemon.isConnected]).toEqual([[], undefined, false]);
  });

  it('is asked once for many who need it at the same time', async () => {
    const { docker, daemon, connections } = makeDaemon();
    const answers = await Promise.all([daemon.ready(never), daemon.ready(never), daemon.ready(never)]);
    expect(answers.every(({ ok }) => ok)).toBe(true);
    expect([docker.calls, connections()]).toEqual([['daemon', 'image'], 1]);
    expect(daemon.peek()).toMatchObject({ image: IMAGE });
    daemon.close();
  });

  it('that was never there is told of at once, and tried again by the next one', async () => {
    const { docker, daemon } = makeDaemon();
    docker.isGone = true;
    expect(await daemon.ready(never)).toEqual({ ok: false, problem: expect.stringContaining('does not answer') });
    docker.isGone = false;
    expect((await daemon.ready(never)).ok).toBe(true);
    daemon.close();
  });

  it('that was lost is waited for, and whoever waits goes on when it is back', async () => {
    const { docker, daemon, connections } = makeDaemon();
    await daemon.ready(never);
    docker.lose();
    await settled();
    expect([daemon.generation, daemon.isConnected, daemon.peek()]).toEqual([1, false, undefined]);
    const waiting = daemon.ready(never);
    docker.isGone = false;
    expect((await waiting).ok).toBe(true);
    expect(connections()).toBe(2);
    daemon.close();
  });

  it('that was lost is not waited for any longer than allowed', async () => {
    const { docker, daemon } = makeDaemon({ waitForReturnMs: 0 });
    await daemon.ready(never);
    docker.lose();
    await settled();
    expect(await daemon.ready(never)).toMatchObject({ ok: false });
    daemon.close();
  });

  it('that was lost holds nobody who gives up', async () => {
    const { docker, daemon } = makeDaemon();
    await daemon.ready(never);
    docker.lose();
    await settled();
    const giveUp = new AbortController();
    const waiting = daemon.ready(giveUp.signal);
    giveUp.abort();
    expect((await waiting).ok).toBe(false);
    daemon.close();
  });

  it('is unbroken for whom it never went away, and broken for whom it did, also when it is back', async () => {
    const { docker, daemon } = makeDaemon();
    await daemon.ready(never);
    expect(await daemon.isUnbrokenSince(0)).toBe(true);
    docker.lose();
    await settled();
    docker.isGone = false;
    expect(await daemon.isUnbrokenSince(0)).toBe(false);
    daemon.close();
  });

  it('is lost as soon as somebody finds that it does not answer, and once, however often that is found', async () => {
    const { docker, daemon, connections } = makeDaemon();
    await daemon.ready(never);
    docker.isGone = true; // its open connection does not tell yet
    expect(await Promise.all([daemon.isUnbrokenSince(0), daemon.isUnbrokenSince(0)])).toEqual([false, false]);
    expect([daemon.generation, daemon.isConnected, daemon.peek()]).toEqual([1, false, undefined]);
    const waiting = daemon.ready(never);
    docker.isGone = false;
    expect((await waiting).ok).toBe(true);
    docker.lose(); // ends the old connection, which nobody listens to any more, and the new one
    await settled();
    expect([daemon.generation, connections()]).toEqual([2, 2]);
    daemon.close();
  });

  it('that was lost and closed is waited for by nobody', async () => {
    const { docker, daemon } = makeDaemon();
    await daemon.ready(never);
    docker.lose();
    await settled();
    daemon.close();
    expect((await daemon.ready(never)).ok).toBe(false);
  });

  it('resolves an image that was removed anew, and says how to build one that is missing', async () => {
    const { docker, daemon } = makeDaemon();
    await daemon.ready(never);
    daemon.forgetImage();
    docker.knownImage = undefined;
    expect(await daemon.ready(never)).toEqual({
      ok: false,
      problem: expect.stringMatching(/step-runner is not there.*npm run image/),
    });
    docker.knownImage = { ...IMAGE, id: 'sha256:new' };
    expect(await daemon.ready(never)).toMatchObject({ ok: true, world: { image: { id: 'sha256:new' } } });
    daemon.close();
  });
});
