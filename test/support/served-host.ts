/**
 * `flowops sandbox serve` as a real process, and the engine's side of it in this process. A restart has the
 * same home and the same address, as a service has it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Log } from '@flowops/engine/log.ts';
import { RemoteSandboxes, type RemoteSandboxesOptions } from '@flowops/engine/sandbox-client/remote-sandboxes.ts';
import type { SandboxHost } from '@flowops/proto/attempt.ts';
import { z } from 'zod';
import { scratchFolder } from '../services/scratch.ts';
import { type FlowopsProcess, startFlowops } from './service-process.ts';

export const SERVED_POLICY = `version: 1
rules:
  - match: { plugin: "*", unsigned: true }
    tier: isolate
    limits: { memoryMb: 64, wallMs: 60000, cpuMs: 60000 }
    concurrent: 8
`;
const readySchema = z.object({ addresses: z.array(z.string()), instance: z.string() });

export class ServedHost {
  /** `unix:…` of its own, unless `env` names another. */
  readonly address: string;
  readonly home: string;
  readonly lives: FlowopsProcess[] = [];
  readonly #folder = scratchFolder();
  readonly #env: Readonly<Record<string, string>>;

  constructor(env: Readonly<Record<string, string>> = {}) {
    this.home = join(this.#folder, 'home');
    mkdirSync(this.home);
    const policy = join(this.#folder, 'policy.yaml');
    writeFileSync(policy, SERVED_POLICY);
    this.address = env.SANDBOX_LISTEN ?? `unix:${join(this.#folder, 'run', 'sandbox.sock')}`;
    const listen = { SANDBOX_LISTEN: this.address, SANDBOX_POLICY: policy, SANDBOX_WORKERS: '2' };
    this.#env = { FLOWOPS_HOME: this.home, LOG_LEVEL: 'debug', ...listen, ...env };
  }

  get process(): FlowopsProcess {
    const process = this.lives.at(-1);
    if (process === undefined) throw new Error('no host was started');
    return process;
  }

  /** Gives its instance name. */
  async start(): Promise<string> {
    const process = startFlowops(['sandbox', 'serve'], { cwd: this.#folder, env: this.#env });
    this.lives.push(process);
    const line = await process.stderr.until('the host to be ready', (lines) =>
      lines.find((one) => one.includes('"msg":"the sandbox host is ready"')),
    );
    return readySchema.parse(JSON.parse(line)).instance;
  }

  /** An engine's side of it, without a run. */
  async engine(changes: Partial<RemoteSandboxesOptions> = {}): Promise<RemoteSandboxes> {
    const sandboxes = new RemoteSandboxes({
      addresses: [this.address],
      identity: undefined,
      instance: 'test-engine',
      home: this.home,
      leaseMs: 15_000,
      vouches: () => true,
      log: SILENT,
      ...changes,
    });
    await sandboxes.firstHost(20_000);
    return sandboxes;
  }

  async close(): Promise<void> {
    for (const life of this.lives) await life.powerCut();
  }
}

export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** The host that steps go to now. */
export function picked(sandboxes: RemoteSandboxes): SandboxHost {
  const host = sandboxes.pick();
  if (host === undefined) throw new Error('no host is connected');
  return host;
}

/** A way to a unix socket that a test can cut and mend. */
export class CutWire {
  readonly address: string;
  readonly #target: string;
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #isCut = false;

  private constructor(target: string, path: string) {
    this.#target = target;
    this.address = `unix:${path}`;
    this.#server = createServer((near) => this.#join(near));
  }

  static async to(address: string): Promise<CutWire> {
    const path = join(scratchFolder(), 'wire.sock');
    const wire = new CutWire(address.slice('unix:'.length), path);
    await new Promise<void>((resolve) => wire.#server.listen(path, resolve));
    return wire;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#open) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #join(near: Socket): void {
    if (this.#isCut) {
      near.destroy();
      return;
    }
    const far = connect(this.#target);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#open.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        this.#open.delete(one);
        other.destroy();
      });
    }
    near.pipe(far).pipe(near);
  }
}
