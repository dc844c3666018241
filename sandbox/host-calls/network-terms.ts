/** The bounds of what a plugin does over the network, and the resolver. Constants; tests put smaller ones. */
import { lookup } from 'node:dns/promises';
import { MAX_RESPONSE_BODY_BYTES } from '@flowops/proto/host-call-limits.ts';

export interface NetworkTerms {
  /** Every address of a name. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
  /** One call from its turn to its answer, redirects included. */
  readonly callMs: number;
  /** Name, connection and TLS of one request. */
  readonly connectMs: number;
  readonly maxBodyBytes: number;
  /** Bodies of answers that are being received for one attempt at one moment. */
  readonly maxHeldBytes: number;
  /** Everything one attempt may send and receive. */
  readonly maxTotalBytes: number;
  readonly maxRedirects: number;
  readonly maxOpen: number;
  readonly maxWaiting: number;
  readonly maxWaitingBytes: number;
}

export const NETWORK_TERMS: NetworkTerms = {
  resolve: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
  // As long as common gateways wait for an answer; an answer of a byte a minute ends here.
  callMs: 60_000,
  // Two lost SYN packets and a slow handshake.
  connectMs: 15_000,
  maxBodyBytes: MAX_RESPONSE_BODY_BYTES,
  // Two of the largest answers: more at once comes from many calls side by side.
  maxHeldBytes: 2 * MAX_RESPONSE_BODY_BYTES,
  // More than any step passes on through its outputs; what a hundred attempts take is still no outage.
  maxTotalBytes: 256 * 1024 * 1024,
  // Half of what browsers follow: chains this long are loops.
  maxRedirects: 10,
  // What browsers open to one host.
  maxOpen: 6,
  maxWaiting: 1_000,
  // Four of the largest requests.
  maxWaitingBytes: 24 * 1024 * 1024,
};
