/**
 * The yardstick: fresh isolates as bare as they come (isolate, context, compile, one call, dispose), in a process of
 * their own. Started by fork with `--no-node-snapshot`; argument: how long, ms. Sends {count, ms} to its parent.
 */
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

const durationMs = Number(process.argv[2] ?? 2_000);
for (let warm = 0; warm < 20; warm++) await one();
const startedMs = performance.now();
let count = 0;
while (performance.now() - startedMs < durationMs) {
  await one();
  count++;
}
process.send?.({ count, ms: performance.now() - startedMs });
process.disconnect?.();
