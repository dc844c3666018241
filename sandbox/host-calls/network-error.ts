/** What went wrong on the network, in words for a plugin's author: no address that a name led to, no path of OpenSSL. */
import { messageOf } from '@flowops/proto/errors.ts';

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  EHOSTUNREACH: 'there is no way to it',
  ENETUNREACH: 'there is no way to it',
  ETIMEDOUT: 'nothing answers there',
  ENOTFOUND: 'there is no such name',
  EAI_AGAIN: 'its name cannot be resolved now',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS',
  HPE_HEADER_OVERFLOW: 'its headers are too long',
};
/** A certificate's names can be many. */
const MAX_CHARS = 300;

export function networkProblem(thrown: unknown): string {
  // Of several addresses that were tried, the first tells most.
  const first: unknown = thrown instanceof AggregateError && thrown.errors.length > 0 ? thrown.errors[0] : thrown;
  const code = first instanceof Error && 'code' in first ? String(first.code) : '';
  // OpenSSL's own sentence is a line of numbers and source files.
  if (!Object.hasOwn(WORDS, code) && /^(EPROTO$|ERR_SSL_)/.test(code)) return `TLS failed (${code})`;
  return Object.hasOwn(WORDS, code) ? (WORDS[code] ?? code) : messageOf(first).slice(0, MAX_CHARS);
}
