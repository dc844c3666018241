/**
 * What a worker and `flowops sandbox run --inspect` say to each other about a plugin that is debugged. Both messages are
 * host calls that the host hands on to the CLI, and only for an attempt that was invoked with `debug`: the DevTools
 * protocol so has the sandbox RPC's flow control, and no network is needed in the jail.
 */
import { z } from 'zod';

/** Worker to CLI: one message of the isolate. Answered with {} when it was taken. */
export const DEBUG_SEND = 'debug.send';
/** Worker to CLI: asks for the next event; answered when there is one. */
export const DEBUG_RECEIVE = 'debug.receive';

export function isDebugMethod(method: string): boolean {
  return method === DEBUG_SEND || method === DEBUG_RECEIVE;
}

/** Sources and heap snapshots come in pieces below this; a frame of the RPC holds it as JSON text in JSON text. */
export const MAX_DEBUG_MESSAGE_LENGTH = 6 * 1024 * 1024;

export const debugSendSchema = z.strictObject({ message: z.string().max(MAX_DEBUG_MESSAGE_LENGTH) });

export const debugEventSchema = z.discriminatedUnion('event', [
  z.strictObject({ event: z.literal('attached') }),
  z.strictObject({ event: z.literal('message'), message: z.string().max(MAX_DEBUG_MESSAGE_LENGTH) }),
  z.strictObject({ event: z.literal('detached') }),
]);
export type DebugEvent = z.output<typeof debugEventSchema>;
