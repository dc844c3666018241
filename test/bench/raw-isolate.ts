/**
 * The yardstick: fresh isolates as bare as they come (isolate, context, compile, one call, dispose), in a process of
 * their own. Started by fork with `--no-node-snapshot`; arguments: how long, ms, and at which priority (nice). Sends {count, ms, cpuMs} to its parent.
 */
import { setPriority } from 'node:os';
import ivm from 'isolated-vm';

const MEMORY_MB = 128;
const CODE = 'globalThis.run = (input) => JSON.stringify({ text: JSON.parse(input).text });';

async function one(): Promise<void> {
  const isolate = new ivm.Isolate({ memoryLimit: MEMORY_MB });
  const context = await isolate.createContext();
  const script = await isolate.compileScript(CODE);
  await script.run(context);
  const run = await context.global.get('run', { reference: true });
  await run.apply(undefined, ['{"text":"x"}']);
  isolate.dispose();
}

setPriority(Number(process.argv[3] ?? 0));
const durationMs = Number(process.argv[2] ?? 2_000);
for (let warm = 0; warm < 20; warm++) await one();
const startedMs = performance.now();
const cpuBefore = process.cpuUsage();
let count = 0;
while (performance.now() - startedMs < durationMs) {
  await one();
  count++;
}
const cpu = process.cpuUsage(cpuBefore);
process.send?.({ count, ms: performance.now() - startedMs, cpuMs: (cpu.user + cpu.system) / 1_000 });
process.disconnect?.();
