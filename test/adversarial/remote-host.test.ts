/**
 * Who may speak to a sandbox host of its own, and about what (hostile case 66): engines without a certificate, with a
 * stranger's, with one that is not on the list; a foreign token; a former owner. Against a real host over real TLS.
 */
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { dirname, join } from 'node:path';
import { type ConnectionOptions, connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RemoteSandboxes } from '../../engine/sandbox-client/remote-sandboxes.ts';
import { connectSandboxHost } from '../../proto/sandbox-client.ts';
import { type Authority, newAuthority } from '../services/certificates.ts';
import { freePort } from '../services/ports.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { ENDLESS, handMadeStep, started } from '../support/hand-made-step.ts';
import { picked, ServedHost, SILENT } from '../support/served-host.ts';
import { startFlowops } from '../support/service-process.ts';

let ours: Authority;
let host: ServedHost;
let port: number;
let engine: RemoteSandboxes;

beforeAll(async () => {
  ours = newAuthority();
  port = await freePort();
  const own = ours.issue('sandbox-1');
  host = new ServedHost({
    SANDBOX_LISTEN: `tls://127.0.0.1:${port}`,
    SANDBOX_TLS_CA_FILE: ours.caFile,
    SANDBOX_TLS_CERT_FILE: own.certFile,
    SANDBOX_TLS_KEY_FILE: own.keyFile,
    SANDBOX_CLIENTS: 'engine-1,engine-9',
  });
  await host.start();
  const { cert, key } = ours.issue('engine-1');
  engine = await host.engine({ identity: { ca: ours.ca, cert, key } });
});

afterAll(async () => {
  await engine?.close();
  await host?.close();
});

/** How an attempt to be let in ends: with the host's Hello, or without. */
async function tryAs(options: ConnectionOptions): Promise<string> {
  const stream = connect({ host: '127.0.0.1', port, ca: ours.ca, ...options });
  stream.on('error', () => {});
  const connected = await connectSandboxHost({ stream, role: 'engine', instance: 'stranger', isShared: true });
  if (!connected.ok) return connected.code;
  await connected.host.close();
  return 'let in';
}

describe('a connection over TLS', () => {
  it('with a certificate that the host lists is let in', async () => {
    const { cert, key } = ours.issue('engine-9');
    expect(await tryAs({ cert, key })).toBe('let in');
  });

  it('without a certificate is not', async () => {
    expect(await tryAs({})).toBe('SANDBOX_UNAVAILABLE');
  });

  it('with a certificate of our authority that is not listed is not', async () => {
    const { cert, key } = ours.issue('engine-2');
    expect(await tryAs({ cert, key })).toBe('SANDBOX_UNAVAILABLE');
    await host.process.stderr.until('the refusal in the log', (lines) =>
      lines.find((line) => line.includes('SANDBOX_CLIENTS does not name') && line.includes('CN=engine-2')),
    );
  });

  it('with a listed name that another authority signed is not', async () => {
    const { cert, key } = newAuthority().issue('engine-1');
    expect(await tryAs({ cert, key })).toBe('SANDBOX_UNAVAILABLE');
  });

  it('that speaks TLS 1.2 is not', async () => {
    const { cert, key } = ours.issue('engine-1');
    expect(await tryAs({ cert, key, maxVersion: 'TLSv1.2' })).toBe('SANDBOX_UNAVAILABLE');
  });

  it('that is no TLS at all, or says nothing, ends without harm to others', async () => {
    const plain = connectSocket(port, '127.0.0.1');
    const silent = connectSocket(port, '127.0.0.1');
    const closed = [plain, silent].map((socket) => new Promise((resolve) => socket.on('close', resolve)));
    for (const socket of [plain, silent]) socket.on('error', () => {}).resume();
    plain.write('GET / HTTP/1.1\r\n\r\n');
    await Promise.all(closed);
    const attempt = picked(engine).run(handMadeStep('async () => ({ a: 1 })'), {});
    expect(await attempt.outcome).toMatchObject({ status: 'COMPLETED' });
    attempt.acknowledge();
  });

  it('is refused by the engine when another authority signed what the host shows', async () => {
    const identity = { ca: newAuthority().ca, ...ours.issue('engine-1') };
    const misled = new RemoteSandboxes({
      ...{ addresses: [host.address], identity, instance: 'misled', home: host.home, leaseMs: 15_000 },
      ...{ vouches: () => true, log: SILENT },
    });
    const problem = () => misled.health().map((health) => ('problem' in health ? health.problem : health.state));
    await expect.poll(problem, { timeout: 10_000 }).toEqual([expect.stringContaining('certificate')]);
    await misled.close();
  });
});

describe('a listed engine', () => {
  it('gets nothing for a token that it guessed, and takes nothing from its owner', async () => {
    const step = handMadeStep(ENDLESS);
    const attempt = await started(picked(engine), step);
    const { cert, key } = ours.issue('engine-9');
    const other = await host.engine({ identity: { ca: ours.ca, cert, key } });
    const guess = await picked(other).attach({ ...step, token: 'f'.repeat(32) }, {});
    expect(guess).toEqual({ state: 'unknown' });
    attempt.cancel({ graceMs: 0, reason: 'enough' });
    expect(await attempt.outcome).toMatchObject({ status: 'CANCELLED', message: 'enough' });
    await other.close();
  });

  it('of an older epoch can neither attach, nor cancel, nor start', async () => {
    const step = handMadeStep(ENDLESS);
    const former = await started(picked(engine), step);
    const { cert, key } = ours.issue('engine-9');
    const owner = await host.engine({ identity: { ca: ours.ca, cert, key } });
    const attached = await picked(owner).attach({ ...step, epoch: 2 }, {});
    if (attached.state !== 'running') throw new Error(attached.state);
    former.cancel({ graceMs: 0, reason: 'of the former owner' });
    const late = picked(engine).run(handMadeStep(ENDLESS, { runId: step.runId }), {});
    expect(await late.outcome).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('newer owner'),
    });
    // Its Cancel came before that: the step runs on.
    attached.attempt.cancel({ graceMs: 0, reason: 'of the owner' });
    expect(await attached.attempt.outcome).toMatchObject({ status: 'CANCELLED', message: 'of the owner' });
    await owner.close();
  });
});

describe('the place of a unix socket', () => {
  it("is its user's alone: folder 0700, socket 0600", async () => {
    const served = new ServedHost();
    try {
      await served.start();
      const path = served.address.slice('unix:'.length);
      expect((statSync(path).mode & 0o777).toString(8)).toBe('600');
      expect((statSync(dirname(path)).mode & 0o777).toString(8)).toBe('700');
    } finally {
      await served.close();
    }
  });

  it.each([
    ['a folder that others may enter', (folder: string) => chmodSync(folder, 0o755), 'others may enter it'],
    ['a file in its place', (folder: string) => writeFileSync(join(folder, 'a.sock'), ''), 'is no socket'],
  ])('is refused when it is %s', async (_, spoil, problem) => {
    const folder = join(scratchFolder(), 'run');
    mkdirSync(folder, { mode: 0o700 });
    spoil(folder);
    const env = { SANDBOX_LISTEN: `unix:${join(folder, 'a.sock')}`, FLOWOPS_HOME: join(folder, 'home') };
    const serving = startFlowops(['sandbox', 'serve'], { cwd: folder, env });
    expect(await serving.exited).toEqual({ code: 2, signal: null });
    expect(serving.stderr.items.at(-1)).toContain(problem);
    removeFolder(folder);
  });
});

describe('a host with TLS', () => {
  it.each([
    ['without a list of clients', { SANDBOX_CLIENTS: undefined }, 'SANDBOX_CLIENTS is not set'],
    ['with a name that stands for many', { SANDBOX_CLIENTS: '.example.com' }, 'no name of one engine'],
    ['without its key', { SANDBOX_TLS_KEY_FILE: undefined }, 'SANDBOX_TLS_KEY is not set'],
    ['with the key of another certificate', 'other key', 'not the key of SANDBOX_TLS_CERT'],
  ])('%s does not start, and says which setting', async (_, change, problem) => {
    const folder = scratchFolder();
    const own = ours.issue('sandbox-2');
    const given = change === 'other key' ? { SANDBOX_TLS_KEY_FILE: ours.issue('x').keyFile } : change;
    const env = {
      SANDBOX_LISTEN: `tls://127.0.0.1:${await freePort()}`,
      SANDBOX_TLS_CA_FILE: ours.caFile,
      SANDBOX_TLS_CERT_FILE: own.certFile,
      SANDBOX_TLS_KEY_FILE: own.keyFile,
      SANDBOX_CLIENTS: 'engine-1',
      FLOWOPS_HOME: join(folder, 'home'),
      ...(typeof given === 'string' ? {} : given),
    };
    const serving = startFlowops(['sandbox', 'serve'], { cwd: folder, env });
    expect(await serving.exited).toEqual({ code: 2, signal: null });
    expect(serving.stderr.items.at(-1)).toContain(problem);
    removeFolder(folder);
  });
});
