/**
 * What crosses the boundary of a guest: one function in each direction, numbers and strings only. Both sides import
 * this file and nothing else of each other. "Worker" is the program around it: the isolate worker, or the runner.
 *
 * Guest to worker (`HostFunction`) is synchronous: a flood brakes the guest. It never throws, because an error made
 * outside would show the guest a stack of ours. Worker to guest (`EnterFunction`) is an async call with a timeout.
 */

/** Guest to worker. */
export const HOST_OP = {
  /** (level, message, fieldsJson): 0 kept, 1 over the cap: send no more. */
  log: 1,
  /** (): more lines were dropped than any honest step writes. */
  logFlood: 2,
  /** (fraction, message) */
  progress: 3,
  /** (id, delayMs): 0 set, 1 too many are waiting. */
  setTimer: 4,
  /** (id) */
  clearTimer: 5,
  /** (callId, method, payloadJson): 0 sent, 1 refused (the attempt is ending), CALL_TOO_MUCH. */
  hostCall: 6,
  /** (manifestJson): "" when it is the one that is expected, else what is wrong with it. */
  manifest: 7,
  /** (outputsJson, droppedLogLines) */
  completed: 8,
  /** (reportJson, droppedLogLines) */
  failed: 9,
  /** (count): that many random bytes as characters 0 to 255. */
  random: 10,
  /** (name): the text of a part of the prelude that is not in every guest. In isolates only. */
  part: 11,
} as const;

/** A function body each, which returns what the part exports. */
export type PartName = 'url' | 'hashes';
export type PreludeParts = Readonly<Record<PartName, string>>;

/** Worker to guest. */
export const ENTER_OP = {
  /** (loader module namespace, settingsJson, inputsJson): `loading` when the module still waits for something. */
  run: 1,
  /** (): asked after each entry while the module loads. */
  probe: 2,
  /** (id) */
  timer: 3,
  /** (callId, payloadJson) */
  reply: 4,
  /** (callId, code, message) */
  replyError: 5,
  stop: 6,
  pause: 7,
  resume: 8,
} as const;

export type HostFunction = (
  op: number,
  a?: number | string,
  b?: number | string,
  c?: number | string,
) => number | string;
/** What `boot` gives back; called by the worker only. */
export type EnterFunction = (op: number, a?: unknown, b?: unknown, c?: unknown) => number;

export const ENTERED = 0;
export const LOADING = 1;

/** Told with ENTER_OP.run. */
export interface GuestSettings {
  readonly purpose: 'run' | 'inspect';
  readonly idempotencyKey: string;
  readonly attempt: number;
  readonly outputBytes: number;
  /** Code that declares this text need not ask: the bundle was seen to declare it, and it is the expected one. */
  readonly knownManifestJson?: string;
}

/** A line longer than this is cut in the guest, so that it never crosses; UTF-16 units. */
export const MAX_LOG_MESSAGE_LENGTH = 16 * 1024;
/** Of the fields' JSON. Longer ones are left out and the line says so. */
export const MAX_LOG_FIELDS_LENGTH = 16 * 1024;
/** Lines beyond the log cap are dropped and counted; a step that goes on for this many is LIMIT_LOG. */
export const MAX_DROPPED_LOG_LINES = 100_000;
/** Of a failed task's report: message and stack as the SDK cuts them, escaped; nothing longer is read. */
export const MAX_REPORT_LENGTH = 256 * 1024;
/** What WebCrypto allows in one call. */
export const MAX_RANDOM_BYTES = 65_536;
/** The host call was not made: with those under way it would be larger than MAX_OPEN_CALLS_LENGTH. */
export const CALL_TOO_MUCH = 2;
/** Largest payload of a host call, UTF-16 units: the largest body of a request in base64, and its headers. */
export const MAX_HOST_CALL_LENGTH = 8 * 1024 * 1024;
/** Of all payloads that wait for an answer: the connection to the host holds a few attempts' worth of them. */
export const MAX_OPEN_CALLS_LENGTH = 16 * 1024 * 1024;
