/**
 * The rules of the sandbox RPC that need no connection: whose turn each message is, which ones count against the
 * window, what a Hello must say, and messages as bytes. Pure; peer.ts applies them.
 */
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Frame, FrameSchema, type Hello } from './sandbox_pb.js';

/** The versions of sandbox.proto this code speaks. */
export const PROTOCOL_VERSION = 1;
/** A peer that reads less than this cannot take a 1 MiB piece of a bundle. */
const MIN_FRAME_BYTES = 2 * 1024 * 1024;
/** Names in a Hello are for logs and for the run's state. */
const MAX_NAME_LENGTH = 256;
/** We have a handful. */
const MAX_CAPABILITIES = 64;
/** A host names those that an engine may still ask for, not its whole past. */
export const MAX_ENDED_INSTANCES = 64;

export type PeerRole = 'engine' | 'cli' | 'host' | 'isolate-worker' | 'step-runner';
const ROLES: Readonly<Record<string, PeerRole>> = {
  engine: 'engine',
  cli: 'cli',
  host: 'host',
  'isolate-worker': 'isolate-worker',
  'step-runner': 'step-runner',
};

/** A message with its name, as received. */
export type PeerMessage = Exclude<Frame['body'], { case: undefined }>;
/** A message to send; absent fields have their protobuf defaults. */
export type PeerMessageInit = Extract<
  NonNullable<MessageInitShape<typeof FrameSchema>['body']>,
  { case: PeerMessage['case'] }
>;
type MessageName = PeerMessage['case'];

export const FROM_CALLER: ReadonlySet<MessageName> = new Set([
  'putBundle',
  'invoke',
  'attach',
  'pause',
  'resume',
  'cancel',
  'resultAck',
  'hostReply',
  'leave',
]);
export const FROM_RUNNER: ReadonlySet<MessageName> = new Set([
  'needBundle',
  'started',
  'attachReply',
  'result',
  'hostCall',
  'log',
  'progress',
  'codeCache',
  'draining',
]);
/** Rule 4 of sandbox.proto. */
export const WINDOWED: ReadonlySet<MessageName> = new Set([
  'putBundle',
  'codeCache',
  'invoke',
  'result',
  'hostCall',
  'hostReply',
  'log',
  'progress',
]);

export interface RemoteHello {
  readonly role: PeerRole;
  readonly instance: string;
  readonly capabilities: readonly string[];
  readonly maxFrameBytes: number;
  readonly maxAttempts: number;
  readonly leaseMs: number;
  readonly endedInstances: readonly string[];
  readonly cores: number;
}

export function encodeMessage(body: PeerMessageInit): Uint8Array {
  return toBinary(FrameSchema, create(FrameSchema, { body }));
}

export function decodeMessage(payload: Uint8Array): PeerMessage | undefined {
  try {
    const { body } = fromBinary(FrameSchema, payload, { readUnknownFields: false });
    return body.case === undefined ? undefined : body;
  } catch {
    return undefined;
  }
}

export function checkHello(
  hello: Hello,
  accepts: readonly PeerRole[],
): { ok: true; remote: RemoteHello } | { ok: false; problem: string } {
  const { minVersion, maxVersion, maxFrameBytes, windowBytes, maxAttempts, instance, capabilities } = hello;
  if (minVersion > PROTOCOL_VERSION || maxVersion < PROTOCOL_VERSION) {
    return {
      ok: false,
      problem: `speaks versions ${minVersion} to ${maxVersion} of the sandbox protocol, this side speaks ${PROTOCOL_VERSION}`,
    };
  }
  const role = Object.hasOwn(ROLES, hello.role) ? ROLES[hello.role] : undefined;
  if (role === undefined || !accepts.includes(role)) {
    return { ok: false, problem: `the role "${hello.role.slice(0, 64)}" is not expected here` };
  }
  if (instance === '' || instance.length > MAX_NAME_LENGTH) return { ok: false, problem: 'an instance without a name' };
  if (capabilities.length > MAX_CAPABILITIES || capabilities.some((name) => name.length > MAX_NAME_LENGTH)) {
    return { ok: false, problem: `${capabilities.length} capabilities, or a name of one that is too long` };
  }
  const { endedInstances, leaseMs, cores } = hello;
  if (endedInstances.length > MAX_ENDED_INSTANCES || endedInstances.some((name) => name.length > MAX_NAME_LENGTH)) {
    return { ok: false, problem: `${endedInstances.length} ended hosts, or a name of one that is too long` };
  }
  if (maxFrameBytes < MIN_FRAME_BYTES || windowBytes < 2 * maxFrameBytes) {
    return { ok: false, problem: `limits too small: frames of ${maxFrameBytes}, window of ${windowBytes} bytes` };
  }
  const remote = { role, instance, capabilities, maxFrameBytes, maxAttempts, leaseMs, endedInstances, cores };
  return { ok: true, remote };
}
