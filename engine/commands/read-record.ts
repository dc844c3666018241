/** From the bytes of a record to a command: what parseCommand does not see because it takes text. */
import { MAX_COMMAND_BYTES, type ParsedCommand, parseCommand } from '@flowops/proto/commands.ts';

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Never throws; the problem is one sentence. */
export function readRecord(value: Buffer | null): ParsedCommand {
  if (value === null) return { ok: false, problem: 'the record has no value' };
  if (value.length === 0) return { ok: false, problem: 'the value is empty' };
  // Longer ones are refused by their length; decoding them first would only cost time.
  if (value.length > MAX_COMMAND_BYTES) return parseCommand(value.toString('latin1'));
  let text: string;
  try {
    text = decoder.decode(value);
  } catch {
    return { ok: false, problem: 'the value is not UTF-8 text' };
  }
  return parseCommand(text);
}
