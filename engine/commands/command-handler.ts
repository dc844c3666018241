/**
 * What is done with one record: read it, hand the command to the sink, send it on where its run is at home, or put what
 * cannot be read among the dead letters and answer it where it says which run it was meant for.
 */
import type { Command, ParsedCommand } from '@flowops/proto/commands.ts';
import type { Log } from '../log.ts';
import type { Publisher } from '../publishing/publisher.ts';
import { outcomeEvent, rejected } from '../runs/outcomes.ts';
import type { CommandOrigin, CommandSink } from './command-sink.ts';
import type { DeadLetters, SourceRecord } from './dead-letters.ts';
import { type CommandForwarder, firstPlace } from './forwarding.ts';
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
  readonly forwarder: CommandForwarder;
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
  const first = firstPlace(record);
  const origin: CommandOrigin = {
    ...{ partition, offset: record.offset, recordTimeMs: Number(record.timestamp) },
    ...(first === undefined ? {} : { first }),
  };
  const elsewhere = await sink.take(command, origin);
  if (elsewhere !== undefined) await sendHome(options, { record, command, origin, home: elsewhere.home });
}

interface Homeless {
  readonly record: CommandRecord;
  readonly command: Command;
  readonly origin: CommandOrigin;
  readonly home: string;
}

async function sendHome(
  { forwarder, publisher, log, now }: CommandHandlerOptions,
  { record: { key, value, headers, timestamp }, command, origin, home }: Homeless,
): Promise<void> {
  const { flowId, runId, kind, triggeredBy, reason } = command;
  const { partition } = origin;
  const record: SourceRecord = { key, value, timestamp, ...(headers === undefined ? {} : { headers }) };
  const forwarded = await forwarder.forward(record, origin, home);
  if (forwarded.result === 'sent') {
    log.debug({ flowId, runId, command: kind, partition, home }, 'command sent on to the home of its run');
    return;
  }
  log.warn({ flowId, runId, command: kind, partition, home }, forwarded.problem);
  const context = { triggeredBy, via: 'kafka', reason } as const;
  const answer = rejected('COMMAND_INVALID', forwarded.problem);
  await publisher.publishOutcome(
    outcomeEvent({ command: kind, run: { flowId, runId }, answer, context, nowMs: now() }),
    String(partition),
  );
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
  const context = { triggeredBy: null, via: 'kafka', reason: null } as const;
  const answer = rejected('COMMAND_INVALID', problem);
  await publisher.publishOutcome(
    outcomeEvent({ command: UNREADABLE, run: { flowId, runId }, answer, context, nowMs: now() }),
    String(partition),
  );
}
