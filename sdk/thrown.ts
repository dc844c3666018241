/**
 * What a plugin threw, as bounded text: it may be an Error, a Proxy, null, or an object whose getters throw.
 * Each property is read once and nothing here throws.
 */
import { describeValue } from './json-text.ts';
import { TASK_ERROR } from './metadata.ts';
import { mathFloor, mathMin, textSlice, toWellFormed } from './primordials.ts';

/** Of the message with its causes, UTF-16 units. */
export const MAX_MESSAGE_LENGTH = 8 * 1024;
/** Deeper chains say nothing new; a chain can be endless. */
const MAX_CAUSES = 3;
/** Read by the sandbox, which keeps ten frames of it. */
const MAX_STACK_LENGTH = 32 * 1024;
/** The wire's field is a uint32. */
const MAX_RETRY_AFTER_MS = 0xffff_ffff;

export interface Thrown {
  readonly message: string;
  /** As the engine of the language wrote it, frames of ours included; "" when there is none. */
  readonly stack: string;
  readonly isRetryable: boolean;
  readonly retryAfterMs: number;
}

export function describeThrown(thrown: unknown): Thrown {
  const steer = readSteer(thrown);
  return {
    message: cut(messageChain(thrown), MAX_MESSAGE_LENGTH),
    stack: cut(textOf(read(thrown, 'stack')) ?? '', MAX_STACK_LENGTH),
    isRetryable: read(steer, 'retryable') !== false,
    retryAfterMs: clampRetryAfter(read(steer, 'retryAfterMs')),
  };
}

/** Cut to a length, marked, without half a character. */
export function cut(text: string, maxLength: number): string {
  if (text.length <= maxLength) return toWellFormed(text);
  return `${toWellFormed(textSlice(text, 0, maxLength - 2))} …`;
}

function messageChain(thrown: unknown): string {
  let text = ownMessage(thrown);
  let current = thrown;
  for (let i = 0; i < MAX_CAUSES; i++) {
    const cause = read(current, 'cause');
    if (cause === undefined || cause === current) break;
    text += ` (caused by: ${ownMessage(cause)})`;
    current = cause;
  }
  return text;
}

function ownMessage(thrown: unknown): string {
  if (typeof thrown === 'string') return cut(thrown, MAX_MESSAGE_LENGTH);
  const message = textOf(read(thrown, 'message'));
  if (message === undefined) return `threw ${describeValue(thrown)}, which is no Error`;
  const name = textOf(read(thrown, 'name'));
  const shown = cut(message, MAX_MESSAGE_LENGTH);
  if (name === undefined || isPlainName(name)) return shown === '' ? 'an Error without a message' : shown;
  return `${cut(name, 100)}: ${shown}`;
}

/** Names that say nothing beside the message. */
function isPlainName(name: string): boolean {
  return name === '' || name === 'Error' || name === 'TaskError' || name === 'HostCallError';
}

function readSteer(thrown: unknown): unknown {
  return read(thrown, TASK_ERROR);
}

function clampRetryAfter(value: unknown): number {
  if (typeof value !== 'number' || !(value > 0)) return 0;
  return mathFloor(mathMin(value, MAX_RETRY_AFTER_MS));
}

function read(value: unknown, key: string | symbol): unknown {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return undefined;
  try {
    return (value as Record<string | symbol, unknown>)[key];
  } catch {
    return undefined;
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
