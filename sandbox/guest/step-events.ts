/** What the code of one attempt tells, turned into messages to the host; and its declaration against the first line. */
import { type Json, parseJson } from '@flowops/proto/json.ts';
import { checkManifest } from '@flowops/proto/manifest.ts';
import type { Peer } from '@flowops/proto/peer.ts';
import { type HostReply, type Invoke, Purpose } from '@flowops/proto/sandbox_pb.js';
import type { GuestEvents } from './bridge.ts';
import type { GuestBundle } from './bundle-pieces.ts';
import { declaredDifference } from './declared-difference.ts';
import type { GuestSettings } from './guest-protocol.ts';

export interface StepEvents extends GuestEvents {
  onStarted(): void;
}

export type CallAnswer =
  | { readonly ok: true; readonly payloadJson: string }
  | { readonly ok: false; readonly code: string; readonly message: string };

export function stepEvents(peer: Pick<Peer, 'send'>, invoke: Invoke, bundle: GuestBundle): StepEvents {
  const { token, purpose } = invoke;
  let inspectedJson: string | undefined;
  return {
    onStarted: () => peer.send({ case: 'started', value: { token } }),
    onLog: (level, message, fieldsJson) =>
      peer.send({ case: 'log', value: { token, level, message, fieldsJson: Buffer.from(fieldsJson) } }),
    onProgress: (fraction, message) => peer.send({ case: 'progress', value: { token, fraction, message } }),
    onHostCall: (callId, method, payloadJson) =>
      peer.send({ case: 'hostCall', value: { token, callId, method, payloadJson: Buffer.from(payloadJson) } }),
    checkManifest: (manifestJson) => {
      const isInspect = purpose === Purpose.INSPECT;
      const checked = checkDeclared(manifestJson, isInspect ? undefined : bundle);
      if (!checked.ok) return checked.problem;
      if (isInspect) inspectedJson = JSON.stringify(checked.manifest);
      else bundle.knownManifestJson = manifestJson;
      return '';
    },
    inspectedJson: () => inspectedJson,
  };
}

export function settingsOf(
  invoke: Invoke,
  outputBytes: number,
  { knownManifestJson }: Pick<GuestBundle, 'knownManifestJson'>,
): GuestSettings {
  const isInspect = invoke.purpose === Purpose.INSPECT;
  return {
    purpose: isInspect ? 'inspect' : 'run',
    idempotencyKey: invoke.idempotencyKey,
    attempt: invoke.attempt,
    outputBytes,
    ...(isInspect || knownManifestJson === undefined ? {} : { knownManifestJson }),
  };
}

export function answerOf(reply: HostReply): CallAnswer {
  const { ok, code, message } = reply;
  return ok ? { ok, payloadJson: Buffer.from(reply.payloadJson).toString('utf8') } : { ok, code, message };
}

/** @param bundle whose first line it has to fit; undefined when it is only asked for. */
function checkDeclared(
  manifestJson: string,
  bundle: GuestBundle | undefined,
): { readonly ok: true; readonly manifest: object } | { readonly ok: false; readonly problem: string } {
  const parsed = parseJson(manifestJson);
  const checked = parsed.ok ? checkManifest(parsed.value) : parsed;
  if (!checked.ok) return { ok: false, problem: `the declaration is not valid: ${checked.problem}` };
  if (bundle?.declared.ok === true) {
    const problem = declaredDifference(asJson(bundle.declared.manifest), asJson(checked.manifest));
    if (problem !== undefined) return { ok: false, problem };
  }
  return checked;
}

/** Without the members that are undefined, as it is on the wire. */
function asJson(manifest: object): Json {
  const parsed = parseJson(JSON.stringify(manifest));
  return parsed.ok ? parsed.value : null;
}
