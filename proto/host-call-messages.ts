/**
 * What plugins and their host say to each other in HostCall and HostReply (sandbox.proto): the methods, the JSON of
 * their payloads; how large they may be is in host-call-limits.ts. The same in every tier; design 5.3. Both sides check what they read.
 */
import { z } from 'zod';
import {
  MAX_HEADER_LENGTH,
  MAX_HEADERS,
  MAX_REQUEST_BODY_BYTES,
  MAX_RESPONSE_BODY_BYTES,
  MAX_SECRET_NAME_LENGTH,
  MAX_URL_LENGTH,
} from './host-call-limits.ts';

const headersSchema = z
  .array(z.tuple([z.string().min(1).max(256), z.string().max(MAX_HEADER_LENGTH)]))
  .max(MAX_HEADERS);
/** Base64 of the bytes. */
const bodySchema = (maxBytes: number) => z.base64().max(Math.ceil(maxBytes / 3) * 4);

/** `fetch`. */
export const fetchRequestSchema = z.strictObject({
  url: z.string().max(MAX_URL_LENGTH),
  method: z.string().regex(/^[A-Z]{1,16}$/),
  headers: headersSchema,
  body: bodySchema(MAX_REQUEST_BODY_BYTES).nullable(),
  redirect: z.enum(['follow', 'manual', 'error']),
});
export type FetchRequest = z.output<typeof fetchRequestSchema>;

export const fetchResponseSchema = z.strictObject({
  /** The last one, after redirects. */
  url: z.string(),
  redirected: z.boolean(),
  status: z.number().int(),
  statusText: z.string(),
  headers: headersSchema,
  body: bodySchema(MAX_RESPONSE_BODY_BYTES),
});
export type FetchResponse = z.output<typeof fetchResponseSchema>;

/** `secret`. */
export const secretRequestSchema = z.strictObject({ name: z.string().min(1).max(MAX_SECRET_NAME_LENGTH) });
export const secretResponseSchema = z.strictObject({ value: z.string() });

/** `abort`: the plugin no longer waits for that call; its answer, if any, is dropped. Answered with {}. */
export const abortRequestSchema = z.strictObject({ callId: z.number().int().nonnegative() });

export const HOST_CALL_METHODS = ['fetch', 'secret', 'abort'] as const;
export type HostCallMethod = (typeof HOST_CALL_METHODS)[number];
