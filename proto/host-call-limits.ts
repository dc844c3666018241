/**
 * How large what a plugin asks of its host may be, and which headers of a request are the host's own. A file of its own
 * without any import, because the guest's prelude holds it too.
 */

/** Of one request, decoded bytes. A plugin that sends more is to send it in parts. */
export const MAX_REQUEST_BODY_BYTES = 4 * 1024 * 1024;
/** Of one response after decompression, decoded bytes: with base64 it still fits one frame of 16 MiB. */
export const MAX_RESPONSE_BODY_BYTES = 8 * 1024 * 1024;
export const MAX_URL_LENGTH = 8 * 1024;
export const MAX_HEADERS = 128;
export const MAX_HEADER_LENGTH = 16 * 1024;
export const MAX_SECRET_NAME_LENGTH = 128;

/** They steer the connection, which is the host's: dropped without a word, as the Fetch standard does. Lower case. */
export const HOST_HEADERS = [
  ...['accept-encoding', 'connection', 'content-length', 'expect', 'host', 'http2-settings', 'keep-alive', 'te'],
  ...['trailer', 'transfer-encoding', 'upgrade', 'via'],
] as const;
export const HOST_HEADER_PREFIX = 'proxy-';
