/**
 * V8's code cache of the prelude, with the functions that a step needs. A cache made right after compiling is without
 * those that V8 compiles at their first call; so the prelude is run once here, in a context of this process with a task
 * of ours, and the cache is taken from there: that saves a step about a millisecond. Only code of ours runs.
 */
import vm from 'node:vm';
import { ENTER_OP, type EnterFunction, HOST_OP, type HostFunction } from './guest-protocol.ts';

/** Goes through what most steps go through: inputs with a default, a log line, a timer, an output. */
const WARM_TASK = `({
  loaded: true,
  plugin: { default: { [Symbol.for('flowops.task')]: {
    api: 1, kind: 'function', name: 'a', version: '1.0.0', problems: [],
    inputs: { x: { type: 'integer', field: 'x', required: true }, y: { type: 'string', field: 'y', default: 'd' } },
    outputs: { o: { type: 'json', field: 'o' }, p: { type: 'integer', field: 'p' } },
  }, async run({ inputs, logger }) {
    logger.info('a', { b: 1 });
    console.log('a', 1, { b: [] });
    await new Promise((resolve) => setTimeout(resolve, 1));
    return { o: { a: [1, '2', true, null] }, p: inputs.x };
  } } },
})`;
const WARM_SETTINGS = { purpose: 'run', idempotencyKey: 'k', attempt: 1, outputBytes: 10_000 };
/** The warm-up is a few microtasks long; without an answer the plain cache is used. */
const WARM_UP_MS = 1_000;

/** Undefined when the warm-up did not come to its end: steps are then slower, not wrong. */
export async function warmedCache(prelude: string, filename: string): Promise<Buffer | undefined> {
  const script = new vm.Script(prelude, { filename });
  const context = vm.createContext({});
  const boot = script.runInContext(context) as (host: HostFunction, isWasmAllowed: boolean) => EnterFunction;
  const hasEnded = await new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => resolve(false), WARM_UP_MS);
    const host: HostFunction = (op, a) => {
      if (op === HOST_OP.setTimer) setImmediate(() => enter(ENTER_OP.timer, a));
      if (op === HOST_OP.completed || op === HOST_OP.failed) {
        clearTimeout(timer);
        setImmediate(() => resolve(op === HOST_OP.completed));
      }
      return op === HOST_OP.manifest ? '' : 0;
    };
    const enter = boot(host, false);
    enter(ENTER_OP.run, vm.runInContext(WARM_TASK, context), JSON.stringify(WARM_SETTINGS), '{"x":1}');
  });
  return hasEnded ? script.createCachedData() : undefined;
}
