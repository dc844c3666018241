/** Notes in a run's inbox (design 5.4): a former owner tells that the attempts it had on its own hosts have ended. */
import { z } from 'zod';

const noteSchema = z.object({ kind: z.literal('ended'), token: z.string() });

/** Nothing of the attempt runs any more. */
export function endedNote(token: string): string {
  return JSON.stringify({ kind: 'ended', token });
}

/** The token of an attempt that has ended; undefined for any other note: another release may write more kinds. */
export function readEndedNote(text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = noteSchema.safeParse(value);
  return parsed.success ? parsed.data.token : undefined;
}
