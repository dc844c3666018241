/**
 * Which commands of a run's home were applied, by partition and offset (design 4.3): a command at or before the last one
 * is a redelivery, has no effect, and gets the outcome it had. Pure.
 */
import { isErrorCode } from '@flowops/proto/errors.ts';
import type { CommandOrigin } from '../commands/command-sink.ts';
import type { AppliedCommand, RunRecord } from './codec.ts';
import { type CommandAnswer, duplicate, rejected } from './outcomes.ts';

/** Remembered per partition, beside the START: a redelivery comes within the last few. */
const MAX_REMEMBERED = 16;
/** Clocks of producers differ; a topic that was made anew begins at offset 0 later than this. */
const NEW_TOPIC_AFTER_MS = 60_000;

type Commands = RunRecord['commands'];

/** The answer that the command had; undefined for one that was not seen before. */
export function appliedBefore(commands: Commands, origin: CommandOrigin | undefined): CommandAnswer | undefined {
  if (origin === undefined) return undefined;
  const offset = BigInt(placeOf(origin).offset);
  const applied = commands[placeOf(origin).partition] ?? [];
  const last = applied.at(-1);
  if (last === undefined || offset > BigInt(last.offset)) return undefined;
  const same = applied.find((command) => BigInt(command.offset) === offset);
  if (isOfNewTopic(same === undefined ? applied : [same], origin)) return undefined;
  if (same !== undefined) return answerOf(same);
  const start = applied.find(({ command }) => command === 'START');
  // What came before the START was answered when there was no run yet.
  if (start !== undefined && offset < BigInt(start.offset)) return rejected('RUN_UNKNOWN', 'there was no such run yet');
  return duplicate('a later command of this partition was applied already');
}

export function withApplied(
  commands: Commands,
  origin: CommandOrigin,
  command: string,
  answer: CommandAnswer,
): Commands {
  const { partition, offset } = placeOf(origin);
  const before = (commands[partition] ?? []).filter((other) => other.offset !== offset);
  const applied: AppliedCommand = { offset, command, ...answer, timeMs: origin.recordTimeMs };
  const starts = before.filter((other) => other.command === 'START');
  const others = before.filter((other) => other.command !== 'START');
  const isStart = command === 'START';
  const kept = [...(isStart ? [applied] : starts), ...(isStart ? others : [...others, applied]).slice(-MAX_REMEMBERED)];
  return { ...commands, [partition]: kept };
}

/** What became of the START, once its flow was checked. */
export function withStartAnswer(commands: Commands, answer: CommandAnswer): Commands {
  const answered = (applied: readonly AppliedCommand[]) =>
    applied.map((known) => (known.command === 'START' ? { ...known, ...answer } : known));
  return Object.fromEntries(Object.entries(commands).map(([partition, applied]) => [partition, answered(applied)]));
}

/** A command that was sent on to the run's home is known by where it was first. */
function placeOf(origin: CommandOrigin): { partition: string; offset: string } {
  const { partition, offset } = origin.first ?? origin;
  return { partition: String(partition), offset };
}

/** The topic was deleted and made anew: its offsets mean other records. */
function isOfNewTopic(applied: readonly AppliedCommand[], { recordTimeMs, first }: CommandOrigin): boolean {
  if (first !== undefined) return false; // its time is that of the copy
  return applied.every(({ timeMs }) => timeMs !== undefined && recordTimeMs - timeMs > NEW_TOPIC_AFTER_MS);
}

function answerOf({ outcome, code, message }: AppliedCommand): CommandAnswer {
  return { outcome, code: code !== null && isErrorCode(code) ? code : null, message };
}
