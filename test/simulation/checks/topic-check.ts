/**
 * Reads the topics as their readers do: the first copy of each status event comes in order, without a gap, was committed
 * before, and every later copy is the same (G3). Commands' offsets are committed only when what they ask for, or the
 * refusal, is durable (G1).
 */
import { statusEventSchema } from '@flowops/proto/statuses.ts';
import { z } from 'zod';
import {
  type Appended,
  type Broker,
  COMMANDS,
  DEAD_LETTERS,
  type LoggedRecord,
  OUTCOMES,
  STATUS,
} from '../broker/broker.ts';
import type { World } from '../world/world.ts';
import type { SeenCommand, Truth } from './truth.ts';
import type { Violations } from './violation.ts';

const outcomeSchema = z.object({
  triggeredBy: z.string().nullable(),
  outcome: z.string(),
  code: z.string().nullable(),
  quiescent: z.boolean().optional(),
});

export interface TopicCheckOptions {
  readonly world: World;
  readonly truth: Truth;
  readonly violations: Violations;
  /** What the store may lose, ms; 0: nothing. */
  readonly storeMayLoseMs: number;
}

export class TopicCheck {
  readonly #options: TopicCheckOptions;

  constructor(options: TopicCheckOptions) {
    this.#options = options;
  }

  appended({ topic, partition, record, by }: Appended): void {
    const { world, truth } = this.#options;
    const text = record.value?.toString() ?? '';
    world.tell(by, `${topic}/${partition}:${record.offset} ${text}`);
    switch (topic) {
      case STATUS:
        truth.published.add(text);
        this.#status(text);
        return;
      case OUTCOMES:
        truth.published.add(text);
        this.#outcome(text);
        return;
      case COMMANDS: {
        const command = commandOf(truth, text);
        if (command !== undefined)
          truth.hops.set(command.id, Math.max(hopsOf(record), truth.hops.get(command.id) ?? 0));
        return;
      }
      case DEAD_LETTERS:
        truth.deadLetters.add(text);
        return;
      default:
        return;
    }
  }

  /** A member of the group commits what comes before `next`. */
  offsetCommitted(broker: Broker, partition: number, former: bigint, next: bigint): void {
    const records = broker.records(COMMANDS)[partition] ?? [];
    for (const record of records.slice(Number(former), Number(next))) {
      const missing = this.#missingEffect(record);
      if (missing === undefined) continue;
      this.#options.violations.report(
        'G1',
        `the offset of ${COMMANDS}/${partition}:${record.offset} is committed and ${missing}: ${record.value?.toString()}`,
      );
    }
  }

  #status(text: string): void {
    const { truth, violations } = this.#options;
    const event = statusEventSchema.parse(JSON.parse(text));
    const run = truth.run(`${event.flowId}:${event.runId}`);
    if (run.isExcused) return;
    const sequence = event.sequence ?? 0;
    const committed = run.events[sequence - 1]?.text;
    if (committed !== text && !run.lost.some((write) => write.text.includes(JSON.stringify(text)))) {
      violations.report('G3', `${run.key}: ${text} is published; committed is ${committed ?? 'nothing'}`);
    }
    if (sequence > run.published + 1) {
      violations.report('G3', `${run.key}: ${text} is published after event ${run.published}`);
    }
    run.published = Math.max(run.published, sequence);
  }

  #outcome(text: string): void {
    const { truth, violations } = this.#options;
    const { triggeredBy, outcome, code, quiescent } = outcomeSchema.parse(JSON.parse(text));
    if (triggeredBy === null || quiescent === true) return;
    const command = truth.commands.get(triggeredBy);
    const told = truth.outcomesTold.get(triggeredBy) ?? [];
    truth.outcomesTold.set(triggeredBy, told);
    const answer = code === null ? outcome : `${outcome}(${code})`;
    // Of a run that is not there nothing can remember what was answered.
    const isExcused = told[0] === 'REJECTED(RUN_UNKNOWN)' || truth.runs.get(command?.run ?? '')?.cameBack === true;
    if (told[0] !== undefined && told[0] !== answer && !isExcused) {
      violations.report(
        'G1',
        `${command?.kind} ${triggeredBy} of ${command?.run} was answered ${told[0]}, now ${answer}`,
      );
    }
    told.push(answer);
    if (command === undefined) violations.report('G1', `an outcome names ${triggeredBy}, which was never sent`);
  }

  #missingEffect(record: LoggedRecord): string | undefined {
    const { truth } = this.#options;
    const text = record.value?.toString() ?? '';
    const command = commandOf(truth, text);
    if (command === undefined) return undefined;
    if (command.kind === 'garbage') return truth.deadLetters.has(text) ? undefined : 'it is not among the dead letters';
    if (truth.outcomesTold.has(command.id)) return undefined;
    if ((truth.hops.get(command.id) ?? 0) > hopsOf(record)) return undefined;
    if (this.#isDurable(truth.outcomesCommittedMs.get(command.id))) return undefined;
    const run = truth.runs.get(command.run);
    if (command.kind === 'START' && run !== undefined && run.writes.length > 0 && this.#isDurable(run.createdMs)) {
      return undefined;
    }
    if (run?.isExcused === true) return undefined;
    return 'neither its effect nor an outcome is durable';
  }

  #isDurable(writtenMs: number | undefined): boolean {
    const { world, storeMayLoseMs } = this.#options;
    return writtenMs !== undefined && world.nowMs - writtenMs >= storeMayLoseMs;
  }
}

function hopsOf({ headers }: LoggedRecord): number {
  return Number(headers?.['flowops-hops'] ?? 0);
}

export function commandOf(truth: Truth, text: string): SeenCommand | undefined {
  const id = /"triggeredBy":"(c\d+)"/.exec(text)?.[1] ?? /^garbage (c\d+)/.exec(text)?.[1];
  return id === undefined ? undefined : truth.commands.get(id);
}
