/**
 * What a manifest asks for against what a rule gives (design 5.3, 5.5): compared as text, exactly, `private:` included.
 * A plugin that asks for more does not start; one that starts has what it asked for and no more. Pure.
 */
import { isNetGrant } from '@flowops/proto/net-grants.ts';
import { hostOfGrant, kindOfHost, openingGrant, wordsOfHost } from '../host-calls/place-kind.ts';
import type { Grants, PolicyRequest, RefuseDecision, SecretGrant } from './decision.ts';
import { denied, invalid, listed, shown, yamlText } from './refusal.ts';
import { isSecretName } from './schema.ts';

/** What a rule gives. `manifest`: whatever is asked for (the developer policy). */
export type GivenPermissions =
  | { readonly kind: 'manifest' }
  | { readonly kind: 'listed'; readonly net: readonly string[]; readonly secrets: readonly SecretGrant[] };

/** A manifest may ask for hundreds; a line that nobody reads is not printed. */
const MAX_GRANTS_CHARS = 2000;

export const NO_PERMISSIONS: GivenPermissions = { kind: 'listed', net: [], secrets: [] };

export type Granted =
  | { readonly ok: true; readonly net: Grants['net']; readonly secrets: Grants['secrets'] }
  | { readonly ok: false; readonly refusal: RefuseDecision };

/** @param place "rule 2 (sandbox-policy.yaml:14)"; `isRule` false for the defaults, which cannot grant anything. */
export function grantPermissions(
  request: PolicyRequest,
  given: GivenPermissions,
  { place, isRule }: { readonly place: string; readonly isRule: boolean },
): Granted {
  const net = [...new Set(request.permissions.net)];
  const names = [...new Set(request.permissions.secrets)];
  const oddNet = net.filter((text) => !isNetGrant(text));
  if (oddNet.length > 0) {
    return refuse(
      invalid(
        `the manifest of ${request.name} asks for ${listed(oddNet)}: permissions.net takes host:port or ` +
          'private:host:port, the host in lower case. Build the plugin with that',
      ),
    );
  }
  const oddNames = names.filter((text) => !isSecretName(text));
  if (oddNames.length > 0) {
    return refuse(
      invalid(
        `the manifest of ${request.name} asks for the secret ${listed(oddNames)}: a name is a letter or _, then letters, ` +
          'digits, . _ -. Build the plugin with that',
      ),
    );
  }
  if (given.kind === 'manifest') {
    // The developer's own plugin: a secret may go wherever the plugin may.
    return { ok: true, net, secrets: names.map((name) => ({ name, hosts: net })) };
  }
  const missingNet = net.filter((text) => !given.net.includes(text));
  const secrets = given.secrets.filter(({ name }) => names.includes(name));
  const missingNames = names.filter((name) => !given.secrets.some((secret) => secret.name === name));
  if (missingNet.length === 0 && missingNames.length === 0) return { ok: true, net, secrets };
  const asked = [
    ...(missingNet.length === 0 ? [] : [listed(missingNet, placeText)]),
    ...(missingNames.length === 0 ? [] : [`the secret ${listed(missingNames)}`]),
  ].join(' and ');
  const what = givenText(given, missingNet.length > 0, missingNames.length > 0);
  const warning = missingNet.some((text) => kindOfHost(hostOfGrant(text)) === 'metadata')
    ? ' A plugin that reaches it can act as this machine: allow it only to one of your own.'
    : '';
  const way = wayToAllow(request, { given, missingNet, missingNames, isRule });
  return refuse(denied(`${request.name} asked for ${asked}; ${place} grants ${what}.${warning} To allow: ${way}`));
}

interface Missing {
  readonly given: Extract<GivenPermissions, { kind: 'listed' }>;
  readonly missingNet: readonly string[];
  readonly missingNames: readonly string[];
  readonly isRule: boolean;
}

/** The line to add, and what the manifest has to say where it asks for what no grant opens as it is written. */
function wayToAllow({ name, digest, permissions }: PolicyRequest, missing: Missing): string {
  const { given, missingNet, missingNames, isRule } = missing;
  const opening = missingNet.map(openingGrant);
  const hosts = [...new Set(permissions.net)].map(openingGrant);
  const grants = grantsText({
    net: [...given.net, ...opening],
    secrets: [...given.secrets, ...missingNames.map((secret) => ({ name: secret, hosts }))],
  });
  const line = grants.length > MAX_GRANTS_CHARS ? 'grants with all that it asks for' : `grants: ${grants}`;
  const way = isRule ? line : `a rule with match: { plugin: "${name}", digest: "${digest}" } and ${line}`;
  if (opening.every((text, index) => text === missingNet[index])) return way;
  const inPlugin = grantsText({ net: hosts });
  return `${way}, and in the plugin: permissions: ${inPlugin.length > MAX_GRANTS_CHARS ? 'with private: before them' : inPlugin}`;
}

/** "10.0.0.5:80 (a private address)" */
function placeText(text: string): string {
  const words = wordsOfHost(hostOfGrant(text));
  return words === undefined ? shown(text) : `${shown(text)} (${words})`;
}

function refuse(refusal: RefuseDecision): Granted {
  return { ok: false, refusal };
}

function givenText(
  { net, secrets }: { readonly net: readonly string[]; readonly secrets: readonly SecretGrant[] },
  tellsNet: boolean,
  tellsSecrets: boolean,
): string {
  const parts: string[] = [];
  if (tellsNet) parts.push(net.length === 0 ? 'no network' : `only ${listed(net)}`);
  if (tellsSecrets) {
    const names = secrets.map(({ name }) => name);
    parts.push(
      names.length === 0 ? 'no secrets' : `only the ${names.length === 1 ? 'secret' : 'secrets'} ${listed(names)}`,
    );
  }
  return parts.join(' and ');
}

/** `{ net: ["slack.com:443"], secrets: [{ name: TOKEN, hosts: ["slack.com:443"] }] }`, as YAML takes it. */
export function grantsText({ net, secrets, wasm = false }: Partial<Grants>): string {
  const hosts = (texts: readonly string[]) => `[${texts.map((text) => JSON.stringify(text)).join(', ')}]`;
  const entries = (secrets ?? []).map(({ name, hosts: to }) => `{ name: ${yamlText(name)}, hosts: ${hosts(to)} }`);
  const parts = [
    ...(net === undefined || net.length === 0 ? [] : [`net: ${hosts(net)}`]),
    ...(entries.length === 0 ? [] : [`secrets: [${entries.join(', ')}]`]),
    ...(wasm ? ['wasm: true'] : []),
  ];
  return `{ ${parts.join(', ')} }`;
}
