/**
 * What plugins and their host say to each other in HostCall and HostReply (sandbox.proto): the methods, the JSON of
 * their payloads, and how large they may be. The same in every tier; design 5.3. Both sides check what they read.
 */
import { z } from 'zod';

/** Of one request, decoded bytes. A plugin that sends more is to send it in parts. */
export const MAX_REQUEST_BODY_BYTES = 4 * 1024 * 1024;
/** Of one response after decompression, decoded bytes: with base64 it still fits one frame of 16 MiB. */
export const MAX_RESPONSE_BODY_BYTES = 8 * 1024 * 1024;
export const MAX_URL_LENGTH = 8 * 1024;
export const MAX_HEADERS = 128;
export const MAX_HEADER_LENGTH = 16 * 1024;
export const MAX_SECRET_NAME_LENGTH = 128;

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
