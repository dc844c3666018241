/**
 * What a guest may ask of its worker, behind the one function it can call: log, progress, timers, host calls, random
 * bytes, and the end of its task. Counts and bounds all of it.
 *
 * Invariants:
 *   B1. `take` never throws: an error from here would carry a stack of ours into the guest.
 *   B2. After `close()` nothing of the guest reaches anybody, and no timer of it is left.
 */
import { randomFillSync } from 'node:crypto';
import { type ErrorCode, isErrorCode } from '@flowops/proto/errors.ts';
import { parseJson } from '@flowops/proto/json.ts';
import { MAX_MANIFEST_BYTES } from '@flowops/proto/manifest.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { z } from 'zod';
import {
  CALL_TOO_MUCH,
  HOST_OP,
  MAX_DROPPED_LOG_LINES,
  MAX_HOST_CALL_LENGTH,
  MAX_LOG_FIELDS_LENGTH,
  MAX_LOG_MESSAGE_LENGTH,
  MAX_OPEN_CALLS_LENGTH,
  MAX_RANDOM_BYTES,
  MAX_REPORT_LENGTH,
} from './guest-protocol.ts';
import { MAX_GUEST_TIMERS, MAX_MESSAGE_LENGTH, MIN_PROGRESS_INTERVAL_MS } from './limits.ts';
import type { RunEnd } from './run-end.ts';

/** What a line costs beside its text, so that empty lines are not free. */
const LOG_LINE_BYTES = 16;
const LEVELS: ReadonlySet<unknown> = new Set(['debug', 'info', 'warn', 'error']);

export interface GuestEvents {
  onLog(level: string, message: string, fieldsJson: string): void;
  onProgress(fraction: number, message: string): void;
  onHostCall(callId: number, method: string, payloadJson: string): void;
  /** What is wrong with the manifest that the code declares, "" when it is the expected one. */
  checkManifest(manifestJson: string): string;
  /** The outputs to report for a task that was only described. */
  readonly inspectedJson: () => string | undefined;
}

export type GuestReport = Exclude<RunEnd, { status: 'CANCELLED' }>;

const failedSchema = z.object({
  code: z.string(),
  message: z.string(),
  stack: z.string(),
  isRetryable: z.boolean(),
  retryAfterMs: z.number().int().nonnegative(),
});

export interface GuestBridgeOptions {
  readonly limits: EffectiveLimits;
  readonly events: GuestEvents;
  readonly fire: (timerId: number) => void;
  readonly onReport: (report: GuestReport) => void;
  readonly onLimit: (code: ErrorCode, message: string) => void;
}

export class GuestBridge {
  readonly #options: GuestBridgeOptions;
  readonly #timers = new Map<number, NodeJS.Timeout>();
  /** By id, the length of the payload. */
  readonly #openCalls = new Map<number, number>();
  #openLength = 0;
  #logBytes = 0;
  #hostCalls = 0;
  #progressAt = -Infinity;
  #isClosed = false;
  droppedLogLines = 0;

  constructor(options: GuestBridgeOptions) {
    this.#options = options;
  }

  /** Nothing is open that could call the guest again. */
  get isIdle(): boolean {
    return this.#timers.size === 0 && this.#openCalls.size === 0;
  }

  get hasOpenCalls(): boolean {
    return this.#openCalls.size > 0;
  }

  take(op: number, a: unknown, b: unknown, c: unknown): number | string {
    if (this.#isClosed) return 1;
    try {
      return this.#take(op, a, b, c);
    } catch {
      return 1;
    }
  }

  /** True when the call was open. */
  takeReply(callId: number): boolean {
    this.#openLength -= this.#openCalls.get(callId) ?? 0;
    return this.#openCalls.delete(callId);
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#openCalls.clear();
  }

  #take(op: number, a: unknown, b: unknown, c: unknown): number | string {
    switch (op) {
      case HOST_OP.log:
        return this.#log(a, textOf(b), textOf(c));
      case HOST_OP.logFlood:
        this.droppedLogLines = Math.max(this.droppedLogLines, MAX_DROPPED_LOG_LINES);
        return this.#limit('LIMIT_LOG', `the step logged far beyond its cap of ${this.#options.limits.logBytes} bytes`);
      case HOST_OP.progress:
        return this.#progress(numberOf(a), textOf(b));
      case HOST_OP.setTimer:
        return this.#setTimer(numberOf(a), numberOf(b));
      case HOST_OP.clearTimer:
        clearTimeout(this.#timers.get(numberOf(a)));
        this.#timers.delete(numberOf(a));
        return 0;
      case HOST_OP.hostCall:
        return this.#hostCall(numberOf(a), textOf(b), textOf(c));
      case HOST_OP.manifest:
        return this.#manifest(textOf(a));
      case HOST_OP.completed:
        return this.#completed(textOf(a), numberOf(b));
      case HOST_OP.failed:
        return this.#failed(textOf(a), numberOf(b));
      case HOST_OP.random:
        return randomText(numberOf(a));
      default:
        return 1;
    }
  }

  #log(level: unknown, message: string, fieldsJson: string): number {
    const isTooLong = message.length > MAX_LOG_MESSAGE_LENGTH || fieldsJson.length > MAX_LOG_FIELDS_LENGTH;
    this.#logBytes += Buffer.byteLength(message) + Buffer.byteLength(fieldsJson) + LOG_LINE_BYTES;
    if (isTooLong || !LEVELS.has(level) || this.#logBytes > this.#options.limits.logBytes) {
      this.droppedLogLines++;
      return 1;
    }
    this.#options.events.onLog(String(level), message, fieldsJson);
    return 0;
  }

  #progress(fraction: number, message: string): number {
    const now = performance.now();
    if (fraction < 1 && now - this.#progressAt < MIN_PROGRESS_INTERVAL_MS) return 0;
    this.#progressAt = now;
    this.#options.events.onProgress(fraction, message.slice(0, MAX_MESSAGE_LENGTH));
    return 0;
  }

  #setTimer(id: number, delayMs: number): number {
    if (this.#timers.size >= MAX_GUEST_TIMERS || this.#timers.has(id)) return 1;
    const timer = setTimeout(() => {
      this.#timers.delete(id);
      this.#options.fire(id);
    }, delayMs);
    this.#timers.set(id, timer);
    return 0;
  }

  #hostCall(callId: number, method: string, payloadJson: string): number {
    const { hostCalls } = this.#options.limits;
    // A call that is given up was counted when it was made.
    if (method !== 'abort') this.#hostCalls++;
    if (this.#hostCalls > hostCalls) {
      return this.#limit('LIMIT_HOST_CALLS', `the step made more than its limit of ${hostCalls} host calls`);
    }
    if (payloadJson.length > MAX_HOST_CALL_LENGTH || this.#openCalls.has(callId)) return 1;
    if (this.#openLength + payloadJson.length > MAX_OPEN_CALLS_LENGTH) return CALL_TOO_MUCH;
    this.#openCalls.set(callId, payloadJson.length);
    this.#openLength += payloadJson.length;
    this.#options.events.onHostCall(callId, method, payloadJson);
    return 0;
  }

  /** The longest that is valid has so many bytes; each is at least one character. */
  #manifest(manifestJson: string): string {
    if (manifestJson.length > MAX_MANIFEST_BYTES) return `the declaration is larger than ${MAX_MANIFEST_BYTES} bytes`;
    return this.#options.events.checkManifest(manifestJson);
  }

  #completed(outputsJson: string, droppedLogLines: number): number {
    this.droppedLogLines = Math.max(this.droppedLogLines, droppedLogLines);
    const { outputBytes } = this.#options.limits;
    const inspected = this.#options.events.inspectedJson();
    if (inspected === undefined && Buffer.byteLength(outputsJson) > outputBytes) {
      return this.#limit('LIMIT_OUTPUT', `the outputs are larger than the limit of ${outputBytes} bytes`);
    }
    this.#options.onReport({ status: 'COMPLETED', outputsJson: inspected ?? outputsJson });
    return 0;
  }

  #failed(reportJson: string, droppedLogLines: number): number {
    this.droppedLogLines = Math.max(this.droppedLogLines, droppedLogLines);
    const { code, message, ...report } = readReport(reportJson);
    const known = isErrorCode(code) ? code : 'PLUGIN_ERROR';
    this.#options.onReport({
      status: 'FAILED',
      code: known,
      message: message.slice(0, MAX_MESSAGE_LENGTH),
      ...report,
    });
    return 0;
  }

  #limit(code: ErrorCode, message: string): number {
    this.#options.onLimit(code, message);
    return 1;
  }
}

/** A plugin that changes JSON's own ways (`Object.prototype.toJSON`) changes the report of its end too: it ends all the same. */
function readReport(reportJson: string): z.output<typeof failedSchema> {
  const parsed = reportJson.length > MAX_REPORT_LENGTH ? undefined : parseJson(reportJson);
  const read = parsed?.ok === true ? failedSchema.safeParse(parsed.value) : undefined;
  if (read?.success === true) return read.data;
  const message = 'the plugin failed, and has changed how its objects are turned into JSON: what it threw is not known';
  return { code: 'PLUGIN_ERROR', message, stack: '', isRetryable: true, retryAfterMs: 0 };
}

function randomText(count: number): string {
  const bytes = Buffer.alloc(Math.max(0, Math.min(MAX_RANDOM_BYTES, Math.trunc(count))));
  return randomFillSync(bytes).toString('latin1');
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
