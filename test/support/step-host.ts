/** What runs steps in a test, whatever the tier: one isolate worker for many, or a runner process for each. */
import {
  type AnswerCall,
  denied,
  type Step,
  type StepOptions,
  type StepResult,
  startRunner,
  startWorker,
  type WorkerHost,
} from './worker-host.ts';

export interface StepHost {
  /** For each test the default: every call is refused. */
  answerCall: AnswerCall;
  start(source: string | Uint8Array, options?: StepOptions): Promise<Step>;
  run(source: string | Uint8Array, options?: StepOptions): Promise<StepResult>;
  cancel(step: Step, graceMs: number, reason?: string): void;
  close(): Promise<void>;
}

export function isolateSteps(): StepHost {
  return stepsOf(startWorker);
}

/** One worker as long as it lives; a new one where a test made it end. */
export function stepsOf(startOne: () => Promise<WorkerHost>): StepHost {
  let worker: WorkerHost | undefined;
  const open = async (): Promise<WorkerHost> => {
    if (worker?.peer.isOpen !== true) worker = await startOne();
    worker.answerCall = steps.answerCall;
    return worker;
  };
  const steps: StepHost = {
    answerCall: denied,
    start: async (source, options) => (await open()).start(source, options),
    run: async (source, options) => (await open()).run(source, options),
    cancel: (step, graceMs, reason) => worker?.cancel(step, graceMs, reason),
    close: async () => worker?.close(),
  };
  return steps;
}

/** A process for each step, as a container has it. */
export function runnerSteps(): StepHost {
  const open = new Map<Step, WorkerHost>();
  const steps: StepHost = {
    answerCall: denied,
    start: async (source, options) => {
      const runner = await startRunner();
      runner.answerCall = steps.answerCall;
      const step = runner.start(source, options);
      open.set(step, runner);
      void runner.ended.then(() => open.delete(step));
      return step;
    },
    run: async (source, options) => (await steps.start(source, options)).result,
    cancel: (step, graceMs, reason) => open.get(step)?.cancel(step, graceMs, reason),
    close: async () => {
      await Promise.all([...open.values()].map((runner) => runner.close()));
    },
  };
  return steps;
}
