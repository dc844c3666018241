/**
 * An engine in the bench's own process: real store, real sandbox host and isolates, in-process events. Flows are
 * chains of no-op steps of one plugin; each step takes the output of the one before.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Engine, startEngine } from '@flowops/engine/app.ts';
import type { Log } from '@flowops/engine/log.ts';
import { LocalPublisher } from '@flowops/engine/publishing/local-publisher.ts';
import { LocalSandboxes } from '@flowops/engine/sandbox-client/local-sandboxes.ts';
import type { RunStore } from '@flowops/engine/store/run-store.ts';
import { readCommand } from '@flowops/proto/commands.ts';
import type { Json } from '@flowops/proto/json.ts';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import { openPluginFolder } from '@flowops/sdk/registry/plugin-folder.ts';

import { newSigner } from '../support/signer.ts';

export const PLUGIN_ID = 'bench.pass';
/** Keeps its place for ten minutes. */
export const HOLD_ID = 'bench.hold';
const HOLD_MS = 600_000;
const BODIES: Readonly<Record<string, string>> = {
  [PLUGIN_ID]: 'return { text: inputs.text };',
  [HOLD_ID]: `return new Promise((resolve) => setTimeout(() => resolve({ text: inputs.text }), ${HOLD_MS}));`,
};
const sourceOf = (name: string) => `import { defineTask } from '@flowops/sdk';
export default defineTask({
  name: '${name}', version: '1.0.0',
  inputs: { text: { type: 'string' } }, outputs: { text: { type: 'string' } },
  run({ inputs }) { ${BODIES[name]} },
});
`;
const PARTITION = '0';
const say = (level: string) => (fields: object, message: string) =>
  process.stderr.write(`${level}: ${message} ${JSON.stringify(fields)}\n`);
export const BENCH_LOG: Log = { debug() {}, info() {}, warn: say('warning'), error: say('error') };

/** Builds the plugins into a registry folder. @param clone where `@flowops/sdk` resolves */
export async function publishPlugins(home: string, clone: string): Promise<string> {
  const sources = join(clone, '.cache', 'bench');
  mkdirSync(sources, { recursive: true });
  const sandboxes = await openSandboxes(home);
  const folder = join(home, 'registry');
  try {
    for (const name of Object.keys(BODIES)) {
      const source = join(sources, `${name}.ts`);
      writeFileSync(source, sourceOf(name));
      const built = await buildPlugin(source, {
        cacheDir: join(home, 'cache'),
        sandbox: async () => sandboxes.opened(),
      });
      if (!built.ok) throw new Error(built.message);
      mkdirSync(join(folder, name), { recursive: true });
      writeFileSync(join(folder, name, '1.0.0.js'), built.bundle);
    }
    return folder;
  } finally {
    await sandboxes.close();
  }
}

/** Signs it, and writes a policy that gives this publisher fresh contexts in kept isolates. @returns the policy's file */
export function policyOfContexts(home: string, registry: string): string {
  const signer = newSigner();
  const bundle = join(registry, PLUGIN_ID, '1.0.0.js');
  writeFileSync(`${bundle}.sig`, signer.sign(readFileSync(bundle)));
  const file = join(home, 'contexts.json');
  const rule = { match: { plugin: 'bench.*', publisher: 'bench' }, tier: 'isolate', freshness: 'context' };
  const publishers = { bench: { keys: [{ key: signer.key }], names: ['bench.*'] } };
  writeFileSync(file, JSON.stringify({ version: 1, publishers, rules: [rule] }));
  return file;
}

export function openSandboxes(home: string, policyFile?: string): Promise<LocalSandboxes> {
  return LocalSandboxes.start({
    role: 'engine',
    instance: `bench-${process.pid}`,
    home,
    env: { ...process.env, LOG_LEVEL: 'error' },
    policy: policyFile === undefined ? { kind: 'developer' } : { kind: 'file', file: policyFile },
    log: BENCH_LOG,
  });
}

export function chain(length: number): Json {
  return Array.from({ length }, (_, index) => ({
    stepId: `s${index}`,
    pluginId: PLUGIN_ID,
    inputs: { text: index === 0 ? 'hello' : `s${index - 1}.text` },
  }));
}

export class EngineUnderTest {
  readonly #engine: Engine;
  readonly #ends = new Map<string, (status: string) => void>();

  private constructor(engine: Engine, publisher: LocalPublisher) {
    this.#engine = engine;
    publisher.subscribe({
      onEvents: (run, events) => {
        const last = events.at(-1) ?? '';
        if (!last.startsWith('{"eventType":"FLOW_STATUS"')) return;
        const status = /"status":"(COMPLETED|FAILED|STOPPED)"/.exec(last)?.[1];
        if (status !== undefined) this.#ends.get(run.runId)?.(status);
      },
    });
  }

  /** @param options.policyFile absent: the developer policy */
  static async open(options: {
    home: string;
    registry: string;
    store: RunStore;
    policyFile?: string;
  }): Promise<EngineUnderTest> {
    const publisher = new LocalPublisher(BENCH_LOG);
    const sandboxes = await openSandboxes(options.home, options.policyFile);
    const plugins = await openPluginFolder(options.registry, {
      cacheDir: join(options.home, 'cache'),
      sandbox: async () => sandboxes.opened(),
    });
    const engine = await startEngine({
      store: options.store,
      publisher,
      plugins,
      sandboxes,
      log: BENCH_LOG,
      retentionMs: 60_000,
      stopGraceMs: 2_000,
    });
    await engine.runs.openPartition(PARTITION);
    return new EngineUnderTest(engine, publisher);
  }

  /** Runs one flow. @returns ms from the command to the final event. */
  async run(steps: Json): Promise<number> {
    const runId = randomUUID();
    const read = readCommand({ eventType: 'START', flowId: 'bench', runId, steps });
    if (!read.ok) throw new Error(read.problem);
    const ended = new Promise<string>((resolve) => this.#ends.set(runId, resolve));
    const startedMs = performance.now();
    await this.#engine.runs.handle(read.command, 'cli', { partition: PARTITION });
    const status = await ended;
    this.#ends.delete(runId);
    if (status !== 'COMPLETED') throw new Error(`a flow of the bench ended ${status}`);
    return performance.now() - startedMs;
  }

  /** One after the other without pause. */
  async sequential(steps: Json, count: number): Promise<number[]> {
    const times: number[] = [];
    for (let index = 0; index < count; index++) times.push(await this.run(steps));
    return times;
  }

  /** Started at a fixed rate, whatever the others do. */
  async openLoop(steps: Json, count: number, perSecond: number): Promise<number[]> {
    const startMs = performance.now();
    const running: Promise<number>[] = [];
    for (let index = 0; index < count; index++) {
      const wait = startMs + (index * 1_000) / perSecond - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      running.push(this.run(steps));
    }
    return Promise.all(running);
  }

  /** Always `width` flows in flight. @returns flows per second. */
  async inFlight(steps: Json, count: number, width: number): Promise<number> {
    let left = count;
    const startMs = performance.now();
    const worker = async () => {
      while (left-- > 0) await this.run(steps);
    };
    await Promise.all(Array.from({ length: width }, worker));
    return (count * 1_000) / (performance.now() - startMs);
  }

  async close(): Promise<void> {
    await this.#engine.drain(1_000);
    await this.#engine.close();
  }
}
