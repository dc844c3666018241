/**
 * The host's own caps on what a plugin logs, whatever its sandbox let through: a line, all lines of an attempt, and
 * how much may come beyond them. Lines over a cap are dropped and counted.
 */
import type { Log } from '@flowops/proto/sandbox_pb.js';

/** Of one line, message and fields each. */
export const MAX_LINE_BYTES = 16 * 1024;
/** What a line costs beside its text, as the guest counts it too (guest/bridge.ts): empty lines are not free. */
export const LINE_COST_BYTES = 16;
/** A sandbox that sends on after this many dropped lines does not keep its own caps and is ended. */
const MAX_DROPPED_LINES = 100_000;
const CUT_MARK = ' … (cut)';

export interface AdmittedLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fieldsJson: Uint8Array;
}

export class LogCap {
  readonly #limitBytes: number;
  #bytes = 0;
  #dropped = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Lines dropped here. */
  get dropped(): number {
    return this.#dropped;
  }

  get isBeyondAll(): boolean {
    return this.#dropped > MAX_DROPPED_LINES;
  }

  /** The line as it may be passed on, or undefined when it is dropped. */
  admit(log: Log): AdmittedLine | undefined {
    const message = cut(log.message);
    const fieldsJson = log.fieldsJson.length > MAX_LINE_BYTES ? new Uint8Array(0) : log.fieldsJson;
    const bytes = Buffer.byteLength(message) + fieldsJson.length + LINE_COST_BYTES;
    if (this.#bytes + bytes > this.#limitBytes) {
      this.#dropped++;
      return undefined;
    }
    this.#bytes += bytes;
    const level = log.level === 'debug' || log.level === 'warn' || log.level === 'error' ? log.level : 'info';
    return { level, message, fieldsJson };
  }
}

function cut(message: string): string {
  // A character has at least one byte, so a short text needs no count.
  if (message.length * 3 <= MAX_LINE_BYTES || Buffer.byteLength(message) <= MAX_LINE_BYTES) return message;
  const room = MAX_LINE_BYTES - Buffer.byteLength(CUT_MARK);
  const head = Buffer.from(message)
    .subarray(0, room)
    .toString('utf8')
    .replace(/\uFFFD$/, '');
  return `${head}${CUT_MARK}`;
}
