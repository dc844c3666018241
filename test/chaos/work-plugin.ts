/**
 * The plugin that chaos runs: it works for a while and says to a log beside the engine when it began, every beat that it
 * still runs, and when it ended, each time by its own clock. A deaf one goes on when it is told to stop.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startHostProcess } from '@flowops/proto/host-process.ts';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import { ROOT } from '../support/clone.ts';
import { fillRegistry } from '../support/service-plugins.ts';

export const WORK_PLUGIN = 'chaos.work';

/** What a step that was given the text hands on. */
export function outputOf(text: string): string {
  return `(${text})`;
}

const sourceOf = (place: string): string => `import { defineTask } from '@flowops/sdk';

export default defineTask({
  name: '${WORK_PLUGIN}',
  version: '1.0.0',
  permissions: { net: ['private:${place}'] },
  inputs: {
    text: { type: 'string' },
    ms: { type: 'integer' },
    beatMs: { type: 'integer' },
    deaf: { type: 'boolean' },
  },
  outputs: { text: { type: 'string' } },
  async run({ inputs, context }) {
    const life = crypto.randomUUID();
    const { idempotencyKey: key, attempt } = context;
    const tell = async (phase) => {
      const body = JSON.stringify({ key, life, attempt, phase, input: inputs.text, atMs: Date.now() });
      await fetch('http://${place}/', { method: 'POST', body });
    };
    const nap = (ms) => new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      if (inputs.deaf) return;
      const onAbort = () => {
        clearTimeout(timer);
        reject(new Error('stopped while working'));
      };
      if (context.signal.aborted) onAbort();
      else context.signal.addEventListener('abort', onAbort, { once: true });
    });
    await tell('began');
    const endMs = Date.now() + inputs.ms;
    for (let leftMs = inputs.ms; leftMs > 0; leftMs = endMs - Date.now()) {
      await nap(Math.min(leftMs, inputs.beatMs));
      if (endMs - Date.now() > 0) await tell('beat');
    }
    await tell('ended');
    return { text: '(' + inputs.text + ')' };
  },
});
`;

/**
 * Builds it into a registry folder. @param place `host:port` of the log that it tells
 */
export async function publishWorkPlugin(registryDir: string, place: string, home: string): Promise<void> {
  const folder = join(ROOT, '.cache', 'chaos', `plugin-${process.pid}`); // inside the clone: @flowops/sdk resolves there
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'work.ts');
  writeFileSync(file, sourceOf(place));
  const host = await startHostProcess({
    role: 'cli',
    instance: 'chaos',
    env: { ...process.env, LOG_LEVEL: 'error', FLOWOPS_HOME: home },
    policy: { kind: 'developer' },
  });
  if (!host.ok) throw new Error(host.message);
  try {
    const built = await buildPlugin(file, { sandbox: async () => host });
    if (!built.ok) throw new Error(built.message);
    fillRegistry(registryDir, { [WORK_PLUGIN]: built.bundle });
  } finally {
    await host.host.close();
  }
}

/** Every plugin in the isolate tier, the log in reach, and limits that a busy machine does not bring anybody to. */
export function policyFor(place: string): string {
  return `version: 1
rules:
  - match: { plugin: "*", unsigned: true }
    tier: isolate
    limits: { memoryMb: 64, cpuMs: 20000, wallMs: 30000 }
    concurrent: 8
    grants: { net: ["private:${place}"] }
`;
}
