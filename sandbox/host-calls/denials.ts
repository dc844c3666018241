/**
 * The words of a refusal: who asked for what, which rule says no, and the line that would allow it (design 5.3). Where
 * the manifest does not ask for it either, both lines are told; under the developer policy, which grants what the manifest
 * asks for, only the manifest's. Deterministic.
 */
import { isIP } from 'node:net';
import type { SecretGrant } from '../policy/decision.ts';
import { DEVELOPER_RULE } from '../policy/developer-text.ts';
import { hostOfGrant, isName, kindOfHost, openingGrant, wordsOfHost } from './place-kind.ts';

/** A host name has at most 253 characters; a stranger's text gets no more room in a message. */
const MAX_SHOWN_CHARS = 300;
const MAX_LISTED = 3;

export interface Denier {
  readonly pluginName: string;
  /** "rule 2 (sandbox-policy.yaml:14)". */
  readonly rule: string;
  /** What the manifest asks for. */
  readonly permissions: { readonly net: readonly string[]; readonly secrets: readonly string[] };
}

/** @param granted the grants of the rule, as texts. @param from the place that redirected to it. */
export function denyNet(denier: Denier, asked: string, granted: readonly string[], from?: string): string {
  const place = shown(asked);
  const what = from === undefined ? 'asked for' : `was redirected by ${shown(from)} to`;
  const gives = granted.length === 0 ? 'grants no network' : `grants ${listed(granted)} only`;
  const words = wordsOfHost(hostOfGrant(asked));
  const is = words === undefined ? '' : `, ${words}`;
  return `${denier.pluginName} ${what} ${place}${is}; ${denier.rule} ${gives}${allowPlace(denier, place)}`;
}

/** @param place `host:port` of the grant that is there. @param address what it is here; a name's own otherwise. */
export function denyAddress(denier: Denier, place: string, address: string, isSpecial: boolean): string {
  const host = hostOfGrant(place);
  const port = place.slice(place.lastIndexOf(':') + 1);
  const isNamed = isName(host);
  const is = isNamed ? `, which is ${shown(address)} here` : '';
  const kind = wordsOfHost(address) ?? (isSpecial ? 'an address for special use' : 'a private address');
  // A name never leads to link-local and metadata addresses: whoever means them writes them down.
  const literal = isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
  return (
    `${denier.pluginName} asked for ${shown(place)}${is}, ${kind}; ${denier.rule} does not grant it as private` +
    allowPlace(denier, isSpecial && isNamed ? literal : place, `private:${isSpecial && isNamed ? literal : place}`)
  );
}

/** What would open a place, behind a warning where hardly anybody should. */
function allowPlace(denier: Denier, place: string, line = openingGrant(place)): string {
  const host = hostOfGrant(place);
  if (kindOfHost(host) !== 'metadata') return `. ${allowNet(denier, line)}`;
  if (isName(host)) return '; no grant of this name opens it, only one of its address';
  return `. A plugin that reaches it can act as this machine: allow it only to one of your own. ${allowNet(denier, line)}`;
}

export function denySecret(denier: Denier, name: string, granted: readonly SecretGrant[]): string {
  const gives =
    granted.length === 0 ? 'grants no secrets' : `grants ${listed(granted.map((grant) => grant.name))} only`;
  const hosts = denier.permissions.net.length === 0 ? ['host:port'] : denier.permissions.net;
  const line = secretLine({ name: shown(name), hosts });
  const permission = denier.permissions.secrets.includes(name) ? undefined : `secrets: [${quoted(name)}]`;
  return `${denier.pluginName} asked for the secret ${shown(name)}; ${denier.rule} ${gives}. ${allow(denier, line, permission)}`;
}

export function denySecretPlace(denier: Denier, { name, hosts }: SecretGrant, place: string): string {
  const to = hosts.length === 0 ? 'nowhere' : `to ${listed(hosts)} only`;
  const line = secretLine({ name, hosts: [...hosts, place] });
  return (
    `${denier.pluginName} tried to send the secret ${name} to ${shown(place)}; ${denier.rule} lets it go ${to}. ` +
    allow(denier, line, undefined)
  );
}

function allowNet(denier: Denier, line: string): string {
  const isAsked = denier.permissions.net.includes(line);
  return allow(denier, `net: [${quoted(line)}]`, isAsked ? undefined : `net: [${quoted(line)}]`);
}

function allow({ rule }: Denier, grant: string, permission: string | undefined): string {
  if (rule === DEVELOPER_RULE && permission !== undefined) {
    return `To allow, in the plugin: permissions: { ${permission} }`;
  }
  const line = `To allow: grants: { ${grant} }`;
  return permission === undefined ? line : `${line}, and in the plugin: permissions: { ${permission} }`;
}

function secretLine({ name, hosts }: SecretGrant): string {
  return `secrets: [{ name: ${name}, hosts: [${hosts.slice(0, MAX_LISTED).map(quoted).join(', ')}] }]`;
}

function listed(texts: readonly string[]): string {
  const first = texts.slice(0, MAX_LISTED).map(shown).join(', ');
  return texts.length > MAX_LISTED ? `${first} and ${texts.length - MAX_LISTED} more` : first;
}

function quoted(text: string): string {
  return JSON.stringify(shown(text));
}

/** A stranger's text inside a sentence: printable ASCII, bounded. */
export function shown(text: string): string {
  return text.slice(0, MAX_SHOWN_CHARS).replace(/[^\x20-\x7e]/g, '?');
}
