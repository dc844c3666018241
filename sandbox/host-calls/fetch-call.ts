/**
 * `fetch` of a plugin: each hop is matched against the grants, checked for secrets that may not go there, connected,
 * checked again at the socket, sent, metered. The answer is whole, decoded and bounded, or there is none.
 *
 * Invariants:
 *   N1. No byte of a request leaves before its place was granted and the socket's own address was seen to be allowed.
 *   N2. A secret that the attempt was given goes only to the places its grant names, whatever hop it is.
 *   N3. What is held for the plugin is counted before it is kept; what the plugin sends was counted when it came.
 */
import { assertNever } from '@flowops/proto/errors.ts';
import type { FetchRequest, FetchResponse } from '@flowops/proto/host-call-messages.ts';
import { NetGrants, readTarget } from '@flowops/proto/net-grants.ts';
import type { SecretGrant } from '../policy/decision.ts';
import type { ByteBudget } from './byte-budget.ts';
import { type CallFailure, deniedCall, exhaustedCall, failedCall } from './call-failure.ts';
import { openConnection } from './connect.ts';
import { startDeadline } from './deadline.ts';
import { type Denier, denyAddress, denyNet, denySecretPlace, shown } from './denials.ts';
import { type Answer, exchange, type WireRequest } from './exchange.ts';
import type { KnownSecrets } from './known-secrets.ts';
import { mayReach } from './may-reach.ts';
import type { MeteredCall, NetMeter } from './net-meter.ts';
import type { NetworkTerms } from './network-terms.ts';
import { followRedirect, locationOf } from './redirects.ts';
import { findBadHeader, ownHeaders } from './request-headers.ts';

/** They would make a tunnel, or show what we add. */
const FORBIDDEN_METHODS: ReadonlySet<string> = new Set(['CONNECT', 'TRACE', 'TRACK']);

export interface FetchContext {
  readonly denier: Denier;
  readonly grants: NetGrants;
  readonly secretGrants: readonly SecretGrant[];
  readonly secrets: KnownSecrets;
  readonly meter: NetMeter;
  readonly budget: ByteBudget;
  readonly terms: NetworkTerms;
}

export type Fetched = { readonly ok: true; readonly response: FetchResponse } | CallFailure;

/** Never rejects for what a plugin or a server does. @param signal the plugin, or the attempt's end, gives it up. */
export async function fetchForPlugin(call: FetchRequest, context: FetchContext, signal: AbortSignal): Promise<Fetched> {
  const request = firstRequest(call, context);
  if (!request.ok) return request;
  const deadline = startDeadline(signal, context.terms.callMs);
  try {
    const fetched = await follow(request.request, call.redirect, context, deadline.signal);
    if (!deadline.hasPassed || fetched.ok) return fetched;
    return failedCall(`${request.request.target.key} did not answer in full within ${context.terms.callMs} ms`);
  } finally {
    deadline.release();
  }
}

type FirstRequest = { readonly ok: true; readonly request: WireRequest } | CallFailure;

function firstRequest(call: FetchRequest, { denier }: FetchContext): FirstRequest {
  const read = readTarget(call.url);
  if (!read.ok) {
    const url = `${denier.pluginName} asked for ${shown(call.url)}: ${read.problem}`;
    return read.isUrl ? deniedCall(url) : failedCall(url);
  }
  if (FORBIDDEN_METHODS.has(call.method)) return failedCall(`a plugin may not send ${call.method} requests`);
  if (call.body !== null && (call.method === 'GET' || call.method === 'HEAD')) {
    return failedCall(`a ${call.method} request has no body`);
  }
  const bad = findBadHeader(call.headers);
  if (bad !== undefined) return failedCall(`the header ${shown(bad)} cannot be written: its name or value is not HTTP`);
  const body = call.body === null ? null : Buffer.from(call.body, 'base64');
  return { ok: true, request: { target: read.target, method: call.method, headers: ownHeaders(call.headers), body } };
}

async function follow(
  first: WireRequest,
  mode: FetchRequest['redirect'],
  context: FetchContext,
  signal: AbortSignal,
): Promise<Fetched> {
  const holdsSecret = (value: string): boolean => context.secrets.holds(value);
  let request = first;
  let from: string | undefined;
  for (let redirects = 0; redirects <= context.terms.maxRedirects; redirects++) {
    const hop = await sendOne(request, from, context, signal);
    if (!hop.ok) return hop;
    const location = locationOf(hop.answer.head);
    if (location === undefined || mode === 'manual') return await readAnswer(request, from !== undefined, hop, context);
    hop.answer.discard();
    hop.metered.end();
    const place = request.target.key;
    if (mode === 'error') return failedCall(`${place} answered with a redirect, and the plugin asked for none`);
    const next = followRedirect(request, { status: hop.answer.head.status, location }, holdsSecret);
    if (!next.ok) {
      const told = `${place} redirected to ${shown(location)}: ${next.problem}`;
      return next.isUrl ? deniedCall(told) : failedCall(told);
    }
    from = place;
    request = next.request;
  }
  return failedCall(`${first.target.key} redirects more than ${context.terms.maxRedirects} times`);
}

type Hop = { readonly ok: true; readonly answer: Answer; readonly metered: MeteredCall } | CallFailure;

async function sendOne(
  request: WireRequest,
  from: string | undefined,
  context: FetchContext,
  signal: AbortSignal,
): Promise<Hop> {
  const { denier, grants, terms, meter, budget } = context;
  const { target } = request;
  const grant = grants.find(target);
  if (grant === undefined) return deniedCall(denyNet(denier, target.key, grants.texts, from));
  const misplaced = findMisplacedSecret(request, context);
  if (misplaced !== undefined) return deniedCall(denySecretPlace(denier, misplaced, target.key));
  const metered = meter.begin(target.key);
  const connected = await openConnection(target, {
    resolve: terms.resolve,
    allows: (address) => mayReach(grant, address),
    timeoutMs: terms.connectMs,
    signal,
  });
  if (!connected.ok) {
    metered.end();
    switch (connected.kind) {
      case 'address':
        return deniedCall(denyAddress(denier, target.key, connected.address, connected.isSpecial));
      case 'failed':
        return failedCall(`${target.key} could not be reached: ${connected.problem}`);
      default:
        return assertNever(connected);
    }
  }
  const exchanged = await exchange(connected.socket, request);
  metered.sent(exchanged.sentBytes);
  if (!exchanged.ok) {
    metered.end();
    return failedCall(`${target.key} gave no answer: ${exchanged.problem}`);
  }
  metered.received(exchanged.answer.head.headBytes);
  if (budget.spend(exchanged.answer.head.headBytes) === 'used-up') {
    exchanged.answer.discard();
    metered.end();
    return usedUp(context);
  }
  return { ok: true, answer: exchanged.answer, metered };
}

async function readAnswer(
  request: WireRequest,
  redirected: boolean,
  { answer, metered }: Extract<Hop, { ok: true }>,
  context: FetchContext,
): Promise<Fetched> {
  const { terms, budget } = context;
  let heldBytes = 0;
  let isUsedUp = false;
  const read = await answer.readBody((bytes) => {
    heldBytes += bytes;
    metered.received(bytes);
    const spent = budget.hold(bytes);
    isUsedUp = spent === 'used-up';
    if (isUsedUp) return 'the network budget of this step is used up';
    if (heldBytes > terms.maxBodyBytes) return `its body has more than ${terms.maxBodyBytes} bytes`;
    return spent === 'fine'
      ? undefined
      : `more than ${terms.maxHeldBytes} bytes come in at once; make fewer calls at a time`;
  });
  metered.end();
  budget.release(heldBytes);
  if (isUsedUp) return usedUp(context);
  if (!read.ok) return failedCall(`the answer of ${request.target.key} was not taken: ${read.problem}`);
  const { status, statusText, headers } = answer.head;
  const url = new URL(request.target.url);
  url.hash = '';
  const body = read.bytes.toString('base64');
  const list = headers.map(([name, value]): [string, string] => [name, value]);
  return { ok: true, response: { url: url.href, redirected, status, statusText, headers: list, body } };
}

/** The grant of a secret that the request holds and that may not go to its place. */
function findMisplacedSecret(request: WireRequest, context: FetchContext): SecretGrant | undefined {
  const { secrets, secretGrants } = context;
  const texts = [request.target.url.href, ...request.headers.flat()];
  if (request.body !== null) texts.push(request.body.toString('utf8'));
  return secrets
    .findIn(texts)
    .map((name) => secretGrants.find((grant) => grant.name === name) ?? { name, hosts: [] })
    .find(({ hosts }) => new NetGrants(hosts).find(request.target) === undefined);
}

export function usedUp({ denier, terms }: FetchContext): CallFailure {
  return exhaustedCall(`${denier.pluginName} sent and received more than ${terms.maxTotalBytes} bytes in one step`);
}
