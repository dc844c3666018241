/**
 * What is done with one record: read it, hand the command to the sink, or put what cannot be read among the dead letters
 * and answer it where it says which run it was meant for.
 */
import type { ParsedCommand } from '@flowops/proto/commands.ts';
import type { CommandOutcomeEvent } from '@flowops/proto/statuses.ts';
import type { Log } from '../log.ts';
import type { Publisher } from '../publishing/publisher.ts';
import type { CommandSink } from './command-sink.ts';
import type { DeadLetters, SourceRecord } from './dead-letters.ts';
import { readRecord } from './read-record.ts';

export interface CommandRecord extends SourceRecord {
  readonly offset: string;
  /** Epoch ms, decimal digits. */
  readonly timestamp: string;
}

export interface CommandHandlerOptions {
  readonly topic: string;
  readonly sink: CommandSink;
  readonly deadLetters: DeadLetters;
  readonly publisher: Pick<Publisher, 'publishOutcome'>;
  readonly log: Log;
  /** Epoch ms, for the outcome's timestamp. */
  readonly now: () => number;
}

/** What the command was cannot be told of a message that cannot be read. */
const UNREADABLE = 'UNKNOWN';

/** Resolves when the record is done with. Rejects when it has to be offered again. */
export async function handleRecord(
  options: CommandHandlerOptions,
  partition: number,
  record: CommandRecord,
): Promise<void> {
  const { topic, sink, log } = options;
  const parsed = readRecord(record.value);
  if (!parsed.ok) return await refuse(options, partition, record, parsed);
  const { command, unknownFields } = parsed;
  const { flowId, runId } = command;
  if (unknownFields.length > 0) log.debug({ flowId, runId, unknownFields }, 'the command has fields we do not know');
  log.debug({ flowId, runId, command: command.kind, topic, partition, offset: record.offset }, 'command read');
  await sink.take(command, { partition, offset: record.offset, recordTimeMs: Number(record.timestamp) });
}

async function refuse(
  { topic, deadLetters, publisher, log, now }: CommandHandlerOptions,
  partition: number,
  record: CommandRecord,
  { problem, flowId, runId }: ParsedCommand & { ok: false },
): Promise<void> {
  log.warn(
    { topic, partition, offset: record.offset, problem },
    'the record is no command; it goes to the dead letters',
  );
  await deadLetters.send(record, { topic, partition, offset: record.offset }, problem);
  if (flowId === undefined || runId === undefined) return;
  const outcome: CommandOutcomeEvent = {
    eventType: 'COMMAND_OUTCOME',
    command: UNREADABLE,
    flowId,
    runId,
    outcome: 'REJECTED',
    code: 'COMMAND_INVALID',
    message: problem,
    triggeredBy: null,
    via: 'kafka',
    reason: null,
    timestamp: new Date(now()).toISOString(),
  };
  await publisher.publishOutcome(outcome);
}
