/**
 * What is published in place of an event that the topic's limit does not take: the same event, so that readers still see
 * each sequence, with what may be long cut off and a note where it was.
 */
import { isJsonObject, parseJson } from '@flowops/proto/json.ts';

/** Enough for a person to see what happened. */
const KEPT_CHARACTERS = 2000;

/** @returns undefined when nothing can be cut */
export function cutEvent(text: string): string | undefined {
  const parsed = parseJson(text);
  if (!parsed.ok || !isJsonObject(parsed.value)) return undefined;
  const { receipt, error, message, ...rest } = parsed.value;
  return JSON.stringify({
    ...rest,
    ...(error === undefined ? {} : { error: cutText(error) }),
    ...(message === undefined ? {} : { message: cutText(message) }),
    ...(receipt === undefined ? {} : { receipt: null }),
  });
}

function cutText<T>(value: T): T | string {
  if (typeof value !== 'string' || value.length <= KEPT_CHARACTERS) return value;
  return `${value.slice(0, KEPT_CHARACTERS)} … (cut: ${value.length} characters did not fit into one Kafka message)`;
}
