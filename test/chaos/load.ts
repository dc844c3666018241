/**
 * The services that use the engines: as many runs in flight as asked for, until all were started and all have ended. Some
 * are stopped, some paused and resumed, some commands come twice. What a run gets is drawn before it starts; when it gets
 * it follows from its own events.
 */
import { isFinalFlowStatus, type StatusEvent } from '@flowops/proto/statuses.ts';
import type { Chance } from './chance.ts';
import { DEFAULT_PACE, type Flow, makeFlow, type Pace } from './flows.ts';
import type { SentRun } from './observation.ts';
import type { Command } from './wire.ts';

export interface LoadOptions {
  readonly total: number;
  readonly inFlight: number;
  readonly chance: Chance;
  readonly pace?: Pace;
  /** Resolves when the broker has them. */
  readonly send: (commands: readonly Command[]) => Promise<void>;
}

/** START commands that go out together. */
const BATCH = 25;
const SHARES = { stopped: 0.12, paused: 0.08, repeated: 0.08, stoppedFirst: 0.02 };
const PAUSE_MS = { min: 100, max: 1500 };
const LAST_TRIGGER = 5;

interface Plan {
  readonly flow: Flow;
  /** After how many of its events a command goes out; absent: never. */
  readonly stopAfter: number | undefined;
  readonly pauseAfter: number | undefined;
  readonly repeatAfter: number | undefined;
  readonly resumeAfterMs: number;
  /** STOP before START: nobody knows the run yet. */
  readonly isStoppedFirst: boolean;
}

interface Flight {
  readonly plan: Plan;
  /** Highest sequence seen. */
  sequence: number;
}

export class Load {
  readonly runs: SentRun[] = [];
  readonly #options: LoadOptions;
  readonly #flights = new Map<string, Flight>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #sending = new Set<Promise<void>>();
  readonly #watchers = new Set<() => void>();
  #failure: Error | undefined;
  #isFilling = false;
  #ended = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** The share of all runs that have ended. */
  get endedShare(): number {
    return this.#ended / this.#options.total;
  }

  get isOver(): boolean {
    return this.#ended === this.#options.total;
  }

  /** How many were started and have not ended. */
  get inFlight(): number {
    return this.#flights.size;
  }

  start(): void {
    this.#fill();
  }

  /** Starts so many more now, however many are in flight. Resolves when the broker has them. */
  async burst(count: number): Promise<void> {
    const left = Math.min(count, this.#options.total - this.runs.length);
    await this.#send(Array.from({ length: left }, () => this.#begin(this.#options.chance)).flat());
  }

  /** Looks after each event until `isSo`. @throws when a command could not be sent. */
  until(isSo: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#watchers.delete(look);
        signal.removeEventListener('abort', look);
      };
      const look = () => {
        const isDone = isSo();
        if (!isDone && this.#failure === undefined && !signal.aborted) return;
        settle();
        if (this.#failure !== undefined) reject(this.#failure);
        else if (isDone) resolve();
        else reject(signal.reason);
      };
      this.#watchers.add(look);
      signal.addEventListener('abort', look);
      look();
    });
  }

  take(event: StatusEvent): void {
    const flight = this.#flights.get(event.runId);
    if (flight === undefined || event.sequence === undefined || event.sequence <= flight.sequence) return;
    const { plan, sequence: before } = flight;
    flight.sequence = event.sequence;
    const isEnd = event.eventType === 'FLOW_STATUS' && isFinalFlowStatus(event.status);
    const isDue = (after: number | undefined) => after !== undefined && before < after && flight.sequence >= after;
    if (isDue(plan.repeatAfter)) this.#send([startOf(plan.flow)]);
    if (isDue(plan.pauseAfter)) this.#send([control('EXECUTION_PAUSE', plan.flow)]);
    if (isDue(plan.stopAfter)) this.#send([control('EXECUTION_STOP', plan.flow)]);
    if (event.status === 'PAUSED') this.#later(plan.resumeAfterMs, control('EXECUTION_RESUME', plan.flow));
    if (isEnd) {
      this.#flights.delete(event.runId);
      this.#ended++;
      this.#fill();
    }
    this.#look();
  }

  /** Sends nothing more; waits for what is being sent. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.allSettled(this.#sending);
  }

  #fill(): void {
    const { total, inFlight, chance } = this.#options;
    if (this.#isFilling) return;
    const missing = Math.min(total - this.runs.length, inFlight - this.#flights.size);
    // In batches while many are left, so that the broker is not asked for each of them.
    if (missing <= 0 || (missing < BATCH && this.runs.length + missing < total && this.#flights.size > inFlight / 2))
      return;
    const commands: Command[] = [];
    for (let count = 0; count < Math.min(missing, BATCH); count++) commands.push(...this.#begin(chance));
    this.#isFilling = true;
    const go = () => {
      this.#isFilling = false;
      this.#fill();
    };
    this.#send(commands).then(go, () => undefined);
  }

  #begin(chance: Chance): readonly Command[] {
    const plan = planOf(makeFlow(`chaos-${this.runs.length}`, chance, this.#options.pace ?? DEFAULT_PACE), chance);
    const { flow, isStoppedFirst, stopAfter } = plan;
    const { flowId, runId, steps } = flow;
    const mayEnd: SentRun['mayEnd'] = isStoppedFirst
      ? ['STOPPED']
      : stopAfter === undefined
        ? ['COMPLETED']
        : ['STOPPED', 'COMPLETED'];
    this.runs.push({ flowId, runId, steps, mayEnd });
    this.#flights.set(runId, { plan, sequence: 0 });
    const stop = control('EXECUTION_STOP', flow);
    return [...(isStoppedFirst ? [stop] : []), startOf(flow), ...(stopAfter === 0 ? [stop] : [])];
  }

  #later(ms: number, command: Command): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#send([command]);
    }, ms);
    this.#timers.add(timer);
  }

  #send(commands: readonly Command[]): Promise<void> {
    const sending = this.#options.send(commands).catch((cause: unknown) => {
      this.#failure ??= new Error('commands could not be sent', { cause });
      this.#look();
      throw cause;
    });
    const settled = sending.catch(() => undefined);
    this.#sending.add(settled);
    void settled.then(() => this.#sending.delete(settled));
    return settled;
  }

  #look(): void {
    for (const look of [...this.#watchers]) look();
  }
}

function planOf(flow: Flow, chance: Chance): Plan {
  const drawn = (share: number, from: number) =>
    chance.isLuckyIn(share) ? chance.between(from, LAST_TRIGGER) : undefined;
  const isStoppedFirst = chance.isLuckyIn(SHARES.stoppedFirst);
  return {
    flow,
    stopAfter: drawn(SHARES.stopped, 0),
    pauseAfter: drawn(SHARES.paused, 1),
    repeatAfter: drawn(SHARES.repeated, 1),
    resumeAfterMs: chance.between(PAUSE_MS.min, PAUSE_MS.max),
    isStoppedFirst,
  };
}

function startOf({ flowId, runId, commandSteps }: Flow): Command {
  const command = { eventType: 'EXECUTION_START', flowId, runId, triggeredBy: 'chaos', steps: commandSteps };
  return { key: runId, value: JSON.stringify(command) };
}

function control(eventType: string, { flowId, runId }: Flow): Command {
  return { key: runId, value: JSON.stringify({ eventType, flowId, runId, triggeredBy: 'chaos', steps: null }) };
}
