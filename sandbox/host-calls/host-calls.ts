/**
 * What plugins ask of their host: one `AttemptHostCalls` for each attempt, the same in every tier. Counts and answers;
 * never trusts a payload, never rejects.
 *
 *   fetch-call.ts     one fetch: grants (net-grants, addresses), connection (connect), HTTP (exchange, decode-body,
 *                     redirects, request-headers), bounds (network-terms, byte-budget, call-gate), net-meter
 *   secret-source.ts  where values come from; known-secrets.ts, secret-forms.ts  what was given, and redaction
 *   denials.ts        the words of a refusal
 */
import { assertNever, messageOf } from '@flowops/proto/errors.ts';
import { MAX_REQUEST_BODY_BYTES } from '@flowops/proto/host-call-limits.ts';
import {
  abortRequestSchema,
  fetchRequestSchema,
  HOST_CALL_METHODS,
  type HostCallMethod,
  secretRequestSchema,
} from '@flowops/proto/host-call-messages.ts';
import { parseJson } from '@flowops/proto/json.ts';
import { NetGrants } from '@flowops/proto/net-grants.ts';
import type { Receipt } from '@flowops/proto/receipt.ts';
import type { z } from 'zod';
import type { Grants } from '../policy/decision.ts';
import type { HostCallAnswer, TierHostCall } from '../tier.ts';
import { ByteBudget } from './byte-budget.ts';
import { type CallFailure, deniedCall, exhaustedCall, failedCall } from './call-failure.ts';
import { CallGate } from './call-gate.ts';
import { type Denier, denySecret, shown } from './denials.ts';
import { type FetchContext, fetchForPlugin, usedUp } from './fetch-call.ts';
import { KnownSecrets, type RedactedJson } from './known-secrets.ts';
import { NetMeter } from './net-meter.ts';
import { NETWORK_TERMS, type NetworkTerms } from './network-terms.ts';
import { formsOf, MIN_SECRET_LENGTH } from './secret-forms.ts';
import type { SecretSource } from './secret-source.ts';

/** The largest body in base64, and all headers. */
const MAX_PAYLOAD_BYTES = 2 * MAX_REQUEST_BODY_BYTES;
/** The name of a secret, the number of a call. */
const MAX_SMALL_PAYLOAD_BYTES = 4 * 1024;
/** A request is an object with a list of pairs, and far fewer values than this. */
const PAYLOAD_BOUNDS = { depth: 4, values: 1_000 } as const;
const MAX_METHOD_LENGTH = 64;
/** A call, its URL and headers, while it waits. */
const WAITING_BASE_BYTES = 1024;

export interface HostCallsRequest extends Denier {
  readonly grants: Grants;
  readonly maxCalls: number;
  /** The attempt made more calls than it may: it is to be ended. Called once. */
  onExhausted(message: string): void;
  /** Something that the people who read the step's log should know. */
  onNotice(message: string): void;
}

/** What all attempts of a host share. */
export interface HostCallsParts {
  readonly secrets: SecretSource;
  readonly network?: Partial<NetworkTerms>;
}

/** The host calls' part of a receipt. */
export type HostCallFigures = Pick<Receipt, 'hostCalls' | 'net' | 'secrets'>;

export interface AttemptHostCalls {
  call(call: TierHostCall): Promise<HostCallAnswer>;
  figures(): HostCallFigures;
  /** Text on its way to people, with the secrets that this attempt read taken out. */
  redact(text: string): string;
  /** The same for JSON text, of which only strings and keys are looked at. */
  redactJson(text: string): RedactedJson;
  /** The plugin begins anew with all its calls before it: what is open is given up. Figures and known secrets stay. */
  restart(): void;
  /** The attempt has ended: what is open is given up. Redaction goes on. Idempotent. */
  close(): void;
}

export function openHostCalls(request: HostCallsRequest, parts: HostCallsParts): AttemptHostCalls {
  return new HostCalls(request, parts);
}

type Payload<T> = { readonly ok: true; readonly value: T } | CallFailure;

class HostCalls implements AttemptHostCalls {
  readonly #request: HostCallsRequest;
  readonly #source: SecretSource;
  readonly #known = new KnownSecrets();
  readonly #meter = new NetMeter();
  #gate: CallGate;
  readonly #context: FetchContext;
  /** Fetches by callId. */
  readonly #open = new Map<number, AbortController>();
  /** Since the plugin began. */
  #calls = 0;
  #callsBefore = 0;
  #aborts = 0;
  #isClosed = false;

  constructor(request: HostCallsRequest, { secrets, network }: HostCallsParts) {
    const terms = { ...NETWORK_TERMS, ...network };
    this.#request = request;
    this.#source = secrets;
    this.#gate = new CallGate(terms);
    this.#context = {
      denier: request,
      grants: new NetGrants(request.grants.net),
      secretGrants: request.grants.secrets,
      secrets: this.#known,
      meter: this.#meter,
      budget: new ByteBudget(terms),
      terms,
    };
  }

  async call(call: TierHostCall): Promise<HostCallAnswer> {
    if (this.#isClosed) return failedCall('the step has ended');
    const method = methodOf(call.method);
    // A call that is given up was counted when it was made; its answer may have been on its way already.
    if (method === 'abort' && ++this.#aborts <= this.#calls) return this.#abort(call.payloadJson);
    const { maxCalls, pluginName } = this.#request;
    this.#calls++;
    if (this.#calls > maxCalls) {
      const message = `${pluginName} made more than its limit of ${maxCalls} host calls`;
      if (this.#calls === maxCalls + 1) this.#request.onExhausted(message);
      return exhaustedCall(message);
    }
    try {
      return await this.#answer(method, call);
    } catch (thrown) {
      return failedCall(`the host could not answer: ${shown(messageOf(thrown))}`);
    }
  }

  async #answer(method: HostCallMethod | undefined, call: TierHostCall): Promise<HostCallAnswer> {
    switch (method) {
      case 'fetch':
        return await this.#fetch(call);
      case 'secret':
        return await this.#secret(call.payloadJson);
      case 'abort':
        return this.#abort(call.payloadJson);
      case undefined:
        return failedCall(`there is no host call ${shown(call.method.slice(0, MAX_METHOD_LENGTH))}`);
      default:
        return assertNever(method);
    }
  }

  figures(): HostCallFigures {
    return { hostCalls: this.#callsBefore + this.#calls, net: this.#meter.figures(), secrets: this.#known.names };
  }

  redact(text: string): string {
    return this.#known.redact(text);
  }

  redactJson(text: string): RedactedJson {
    return this.#known.redactJson(text);
  }

  restart(): void {
    this.#abortAll();
    this.#callsBefore += this.#calls;
    this.#calls = 0;
    this.#aborts = 0;
    // Answers that were on their way to what is gone hold no turn of what begins.
    this.#gate = new CallGate(this.#context.terms);
  }

  close(): void {
    this.#isClosed = true;
    this.#abortAll();
  }

  #abortAll(): void {
    for (const controller of this.#open.values()) controller.abort(new Error('the step has ended'));
    this.#open.clear();
  }

  async #fetch({ callId, payloadJson }: TierHostCall): Promise<HostCallAnswer> {
    if (this.#open.has(callId)) return failedCall('this call is open already');
    // Reading costs this host more than sending costs the plugin: it is paid for first, and done when its turn has come.
    if (this.#context.budget.spend(payloadJson.length) === 'used-up') return usedUp(this.#context);
    const controller = new AbortController();
    this.#open.set(callId, controller);
    const { signal } = controller;
    const gate = this.#gate;
    try {
      const turn = await gate.enter(payloadJson.length + WAITING_BASE_BYTES, signal);
      if (turn === 'aborted') return failedCall('the call was given up');
      if (turn === 'full') return failedCall('too many calls wait for their turn; wait for some before you make more');
      let hasAnswer = false;
      try {
        const read = readPayload(payloadJson, fetchRequestSchema, MAX_PAYLOAD_BYTES);
        if (!read.ok) return read;
        const fetched = await fetchForPlugin(read.value, this.#context, signal);
        if (signal.aborted) return failedCall('the call was given up');
        if (!fetched.ok) return fetched;
        const given = answer(fetched.response);
        hasAnswer = true;
        return { ...given, onSent: () => gate.leave() };
      } finally {
        if (!hasAnswer) gate.leave();
      }
    } finally {
      if (this.#open.get(callId) === controller) this.#open.delete(callId);
    }
  }

  #abort(payloadJson: Uint8Array): HostCallAnswer {
    const read = readPayload(payloadJson, abortRequestSchema);
    if (!read.ok) return read;
    const { callId } = read.value;
    this.#open.get(callId)?.abort(new Error('the call was given up'));
    this.#open.delete(callId);
    return answer({});
  }

  async #secret(payloadJson: Uint8Array): Promise<HostCallAnswer> {
    const read = readPayload(payloadJson, secretRequestSchema);
    if (!read.ok) return read;
    const { name } = read.value;
    const { grants, pluginName } = this.#request;
    if (!grants.secrets.some((grant) => grant.name === name)) {
      return deniedCall(denySecret(this.#request, name, grants.secrets));
    }
    const secret = await this.#source.read(name);
    if (!secret.ok) return deniedCall(`${pluginName} was granted the secret ${shown(name)}, but ${secret.problem}`);
    const isNew = !this.#known.names.includes(name);
    if (!this.#known.add(name, secret.value)) return failedCall('too many different secrets in one step');
    if (isNew && formsOf(secret.value).length === 0) {
      this.#request.onNotice(
        `the secret ${name} is shorter than ${MIN_SECRET_LENGTH} characters: it is not taken out of logs and outputs`,
      );
    }
    return answer({ value: secret.value });
  }
}

function methodOf(text: string): HostCallMethod | undefined {
  return HOST_CALL_METHODS.find((method) => method === text);
}

function answer(payload: unknown): HostCallAnswer {
  return { ok: true, payloadJson: Buffer.from(JSON.stringify(payload)) };
}

function readPayload<Schema extends z.ZodType>(
  bytes: Uint8Array,
  schema: Schema,
  maxBytes = MAX_SMALL_PAYLOAD_BYTES,
): Payload<z.output<Schema>> {
  if (bytes.length > maxBytes) return failedCall(`the call is larger than ${maxBytes} bytes`);
  const parsed = parseJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'), PAYLOAD_BOUNDS);
  const checked = parsed.ok ? schema.safeParse(parsed.value) : undefined;
  if (checked?.success === true) return { ok: true, value: checked.data };
  const issue = checked?.error.issues[0];
  const where = issue === undefined ? 'it is no JSON' : `${issue.path.join('.') || 'it'}: ${issue.message}`;
  return failedCall(`the call cannot be read: ${shown(where)}`);
}
