/**
 * Starts test/fixtures/sandbox/hostile-host.ts as a process, as whoever runs the tests or as an ordinary user, with a
 * canary in its environment and descriptors left open; gives it orders and waits for what it tells.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { ScriptedOptions } from '../fixtures/sandbox/scripted-host.ts';

export const CANARY = 'canary-7c1e5a';
/** Nobody's, and in no range that systemd or the host takes. */
export const ORDINARY_UID = 64_321;
const FIXTURES = path.join(import.meta.dirname, '..', 'fixtures', 'sandbox');
const ANSWER_MS = 110_000;

export interface Told {
  readonly pid?: number;
  readonly instance?: string;
  readonly started?: string;
  readonly order?: string;
  readonly outcome?: {
    readonly status: string;
    readonly code?: string;
    readonly message?: string;
    readonly outputsJson?: string;
    readonly receipt?: {
      readonly cpuMs: number | null;
      readonly peakMemoryBytes: number | null;
      readonly sources: object;
    };
  };
}

export interface HostileHost {
  readonly pid: number;
  readonly instance: string;
  order(order: { do: string } & Record<string, unknown>): void;
  /** The first thing told that fits, also one that was told before. */
  told(fits: (told: Told) => boolean): Promise<Told>;
  /** The outcome of an order that is given now. */
  run(order: { do: string } & Record<string, unknown>): Promise<NonNullable<Told['outcome']>>;
  kill(): void;
  close(): Promise<void>;
}

let built: string | undefined;

/** The addon of native/syscall.c; undefined where there is no compiler. */
export function nativeAddon(): string | undefined {
  if (built !== undefined) return built;
  const folder = mkdtempSync(path.join(tmpdir(), 'flowops-native-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'syscall.node');
  try {
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', file, path.join(FIXTURES, 'native', 'syscall.c')], {
      stdio: 'ignore',
    });
    execFileSync('chmod', ['755', folder, file]);
  } catch {
    return undefined;
  }
  built = file;
  return file;
}

/** @param options.containers the workers are containers of this image, which has hostile-worker.ts in it. */
export async function startHostileHost(
  options: { uid?: number; containers?: ScriptedOptions['containers'] } = {},
): Promise<HostileHost> {
  const secrets = mkdtempSync(path.join(tmpdir(), 'flowops-open-'));
  const secretFile = path.join(secrets, 'secret');
  writeFileSync(secretFile, CANARY);
  const native = nativeAddon();
  const inContainers = options.containers === undefined ? {} : { CONTAINERS: JSON.stringify(options.containers) };
  const node = [process.execPath, '--no-node-snapshot', path.join(FIXTURES, 'hostile-host.ts')];
  const asUser =
    options.uid === undefined ? [] : ['setpriv', `--reuid=${options.uid}`, `--regid=${options.uid}`, '--clear-groups'];
  // The shell leaves two descriptors open that Node does not mark, and hands both on.
  const script = `exec "$@" 9<"${secrets}" 40<"${secretFile}" 41<"${secrets}"`;
  const child: ChildProcess = spawn('bash', ['--norc', '-c', script, 'bash', ...asUser, ...node], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH,
      FLOWOPS_SECRET: CANARY,
      ...(native === undefined ? {} : { NATIVE: native }),
      ...inContainers,
    },
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  void exited.then(() => rmSync(secrets, { recursive: true, force: true }));
  const seen: Told[] = [];
  const waiting = new Set<() => void>();
  if (child.stdout === null) throw new Error('no output');
  createInterface({ input: child.stdout }).on('line', (line) => {
    seen.push(JSON.parse(line) as Told);
    for (const wake of waiting) wake();
  });
  const told = (fits: (told: Told) => boolean, from = 0): Promise<Told> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = seen.slice(from).find(fits);
        if (found === undefined) return;
        waiting.delete(look);
        clearTimeout(timer);
        resolve(found);
      };
      const timer = setTimeout(() => {
        waiting.delete(look);
        reject(new Error(`nothing fits among ${JSON.stringify(seen).slice(-2000)}`));
      }, ANSWER_MS);
      waiting.add(look);
      look();
    });
  const { pid = 0, instance = '' } = await told((line) => line.pid !== undefined);
  const order: HostileHost['order'] = (what) => child.stdin?.write(`${JSON.stringify(what)}\n`);
  return {
    pid,
    instance,
    order,
    told,
    run: async (what) => {
      const from = seen.length;
      order(what);
      const { outcome } = await told((line) => line.order === what.do, from);
      if (outcome === undefined) throw new Error('no outcome');
      return outcome;
    },
    kill: () => child.kill('SIGKILL'),
    close: async () => {
      child.stdin?.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await exited;
      clearTimeout(timer);
    },
  };
}
