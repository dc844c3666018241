/** The host calls of one attempt, driven without a sandbox: what a plugin asks, as the host reads and answers it. */
import { randomBytes } from 'node:crypto';
import { type FetchRequest, fetchResponseSchema } from '../../proto/host-call-messages.ts';
import { type AttemptHostCalls, openHostCalls } from '../../sandbox/host-calls/host-calls.ts';
import type { NetworkTerms } from '../../sandbox/host-calls/network-terms.ts';
import { givenSecrets } from '../../sandbox/host-calls/secret-source.ts';
import type { SecretGrant } from '../../sandbox/policy/decision.ts';

export interface ClientOptions {
  readonly net?: readonly string[];
  readonly secretGrants?: readonly SecretGrant[];
  readonly secrets?: Readonly<Record<string, string>>;
  readonly network?: Partial<NetworkTerms>;
  readonly maxCalls?: number;
  /** False: the plugin takes no answer off the wire. */
  readonly reads?: boolean;
}

export type FetchAnswer =
  | {
      readonly ok: true;
      readonly status: number;
      readonly url: string;
      readonly redirected: boolean;
      readonly headers: ReadonlyMap<string, string>;
      readonly body: Buffer;
    }
  | { readonly ok: false; readonly code: string; readonly message: string };

export interface HostCallClient {
  readonly calls: AttemptHostCalls;
  readonly notices: readonly string[];
  fetch(
    url: string,
    init?: Partial<Omit<FetchRequest, 'url' | 'body'>> & { body?: string; callId?: number },
  ): Promise<FetchAnswer>;
  secret(name: string): Promise<string>;
  abort(callId: number): Promise<boolean>;
}

export function hostCallClient(options: ClientOptions = {}): HostCallClient {
  const { net = [], secretGrants = [], secrets = {}, network = {}, maxCalls = 1_000, reads = true } = options;
  const notices: string[] = [];
  const calls = openHostCalls(
    {
      pluginName: 'acme.test',
      rule: 'rule 1 (policy.yaml:3)',
      permissions: { net, secrets: secretGrants.map(({ name }) => name) },
      grants: { net, secrets: secretGrants, wasm: false },
      maxCalls,
      onExhausted: (message) => notices.push(message),
      onNotice: (message) => notices.push(message),
    },
    { secrets: givenSecrets(new Map(Object.entries(secrets))), network },
  );
  let lastId = 0;
  const call = async (method: string, payload: unknown, callId = ++lastId) => {
    const answer = await calls.call({ callId, method, payloadJson: Buffer.from(JSON.stringify(payload)) });
    if (reads) answer.onSent?.();
    return answer;
  };
  return {
    calls,
    notices,
    fetch: async (url, { body, callId, ...init } = {}) => {
      const bytes = body === undefined ? null : Buffer.from(body).toString('base64');
      const request = { url, method: 'GET', headers: [], redirect: 'follow', ...init, body: bytes };
      const answer = await call('fetch', request, callId);
      if (!answer.ok) return { ok: false, code: answer.code ?? '', message: answer.message ?? '' };
      const response = fetchResponseSchema.parse(JSON.parse(Buffer.from(answer.payloadJson ?? []).toString()));
      const { status, url: last, redirected } = response;
      const headers = new Map(response.headers);
      return { ok: true, status, url: last, redirected, headers, body: Buffer.from(response.body, 'base64') };
    },
    secret: async (name) => {
      const answer = await call('secret', { name });
      if (!answer.ok) throw new Error(`${answer.code}: ${answer.message}`);
      const { value } = JSON.parse(Buffer.from(answer.payloadJson ?? []).toString()) as { value: string };
      return value;
    },
    abort: async (callId) => (await call('abort', { callId })).ok,
  };
}

/** A value that is nowhere else. */
export function canary(): string {
  return `canary-${randomBytes(12).toString('hex')}`;
}
