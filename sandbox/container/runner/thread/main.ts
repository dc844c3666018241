/**
 * Entry of the guest thread: waits for one plugin, runs it with the guest's prelude, tells what nobody caught. Every
 * limit is the main thread's.
 */
import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { describeThrown } from '@flowops/sdk/thrown.ts';
import { ENTER_OP, type EnterFunction, type HostFunction } from '../../../guest/guest-protocol.ts';
import { PRELUDE_CACHE_FILE, PRELUDE_FILE, readCache, readText } from '../files.ts';
import { SHARED, type ThreadCommand, type ThreadData, type ThreadMessage } from '../thread-protocol.ts';
import { CompileProblem, type LoadedPlugin, prepareRealm } from './realm.ts';

const { commands, answers, shared, folder } = workerData as ThreadData;
const { setImmediate } = globalThis;
const realm = prepareRealm(readText(folder, PRELUDE_FILE), readCache(folder, PRELUDE_CACHE_FILE));
let plugin: LoadedPlugin | undefined;
let enter: EnterFunction | undefined;

function tell(message: ThreadMessage): void {
  commands.postMessage(message);
}

/** Returns when the main thread has answered. It never throws, because the error would not be the guest's own. */
const host: HostFunction = (op, a, b, c) => {
  try {
    const turn = Atomics.load(shared, SHARED.turn);
    tell({ kind: 'call', op, a, b, c });
    Atomics.wait(shared, SHARED.turn, turn);
    if (Atomics.load(shared, SHARED.isText) === 0) return Atomics.load(shared, SHARED.value);
    const answer: unknown = receiveMessageOnPort(answers)?.message;
    return typeof answer === 'string' ? answer : '';
  } catch {
    return 1;
  }
};

async function carryOut(command: ThreadCommand) {
  switch (command.kind) {
    case 'load': {
      const loaded = await realm.load(command, host);
      plugin = loaded.plugin;
      enter = loaded.enter;
      tell({ kind: 'loaded' });
      return;
    }
    case 'run': {
      const evaluated = plugin?.evaluate();
      tellEntered();
      await evaluated;
      tell({ kind: 'entering' });
      enter?.(ENTER_OP.run, { loaded: true, plugin: plugin?.namespace }, command.settingsJson, command.inputsJson);
      tellEntered();
      return;
    }
    case 'enter':
      enter?.(command.op, ...command.values);
      tellEntered();
      return;
  }
}

/** After the microtasks that the entry left behind: a plugin that goes on in them has not come back. */
function tellEntered(): void {
  setImmediate(() => tell({ kind: 'entered' }));
}

function tellThrown(thrown: unknown): void {
  tell({ kind: 'thrown', thrown: describeThrown(thrown) });
}

process.on('uncaughtException', tellThrown);
process.on('unhandledRejection', tellThrown);
commands.on('message', (command: ThreadCommand) => {
  carryOut(command).catch((thrown: unknown) => {
    if (thrown instanceof CompileProblem) tell({ kind: 'invalid', problem: thrown.message });
    else tellThrown(thrown);
  });
});
