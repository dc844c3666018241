/** From a checked policy document to what decide.ts walks through, and the hash that names it in receipts. */
import { createHash } from 'node:crypto';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { type CompiledPolicy, decide, type Terms } from './decide.ts';
import type { ContainerTerms, Policy } from './decision.ts';
import { DEFAULT_CONCURRENT, DEFAULT_CONTAINER, DEFAULT_LIMITS, DEFAULT_PIDS } from './default-limits.ts';
import type { KeyPath } from './document.ts';
import { compilePublishers, identifier } from './identify.ts';
import type { GivenPermissions } from './permissions.ts';
import type { PolicyContainer, PolicyDocument, PolicyLimits, PolicyRule } from './schema.ts';

export interface CompileOptions {
  /** For messages: the file's name without its folder, or undefined where there is no file. */
  readonly file: string | undefined;
  /** Line of a key of the document. */
  readonly lineOf: (path: KeyPath) => number;
}

export function compilePolicy(document: PolicyDocument, { file, lineOf }: CompileOptions): CompiledPolicy {
  const at = (what: string, path: KeyPath) => (file === undefined ? what : `${what} (${file}:${lineOf(path)})`);
  const rules = document.rules ?? [];
  return {
    policyHash: hashOf(document),
    file,
    revokedDigests: new Map(
      (document.revoked?.digests ?? []).map((digest, index) => [
        digest,
        at('revoked.digests', ['revoked', 'digests', index]),
      ]),
    ),
    plugins: new Map(
      Object.entries(document.plugins ?? {}).map(([id, name]) => [
        id.toLowerCase(),
        { name, place: at('plugins', ['plugins', id]) },
      ]),
    ),
    minVersions: new Map(
      Object.entries(document.minVersion ?? {}).map(([name, version]) => [
        name,
        { version, place: at('minVersion', ['minVersion', name]) },
      ]),
    ),
    publishers: compilePublishers(document, at),
    denials: rules.flatMap(({ match, deny }, index) =>
      deny === undefined ? [] : [{ match, reason: deny, place: at(`rule ${index + 1}`, ['rules', index]) }],
    ),
    rules: rules.flatMap((rule, index) =>
      rule.deny === undefined
        ? [{ match: rule.match, terms: termsOf(document, rule, at(`rule ${index + 1}`, ['rules', index])) }]
        : [],
    ),
    defaults: termsOf(document, undefined, 'defaults'),
    stopRunning: document.stopRunning ?? false,
    strictRuntimes: document.strictRuntimes ?? false,
    usesHistory: true,
  };
}

function termsOf(document: PolicyDocument, rule: PolicyRule | undefined, place: string): Terms {
  return {
    place,
    tier: tierOf(document, rule),
    limits: limitsOf(document, rule?.limits),
    jail: rule?.jail ?? 'required',
    wasm: rule?.grants?.wasm ?? false,
    container: containerOf(rule?.container),
    concurrent: rule?.concurrent ?? document.defaults?.concurrent ?? DEFAULT_CONCURRENT,
    freshness: rule?.freshness ?? 'isolate',
    permissions: permissionsOf(rule),
    demoteAfter: rule?.onViolation?.demote,
  };
}

function permissionsOf(rule: PolicyRule | undefined): GivenPermissions {
  const { net = [], secrets = [] } = rule?.grants ?? {};
  return { kind: 'listed', net, secrets };
}

export function containerOf(own: PolicyContainer = {}): ContainerTerms {
  const runtime = own.runtime ?? DEFAULT_CONTAINER.runtime;
  return {
    runtime,
    pids: own.pids ?? DEFAULT_PIDS[runtime],
    cpus: own.cpus ?? DEFAULT_CONTAINER.cpus,
    tmpfsMb: own.tmpfsMb ?? DEFAULT_CONTAINER.tmpfsMb,
  };
}

/** A rule that names no tier gives the default one. */
export function tierOf(document: PolicyDocument, rule: PolicyRule | undefined): 'isolate' | 'container' {
  return rule?.tier ?? document.defaults?.tier ?? 'container';
}

function limitsOf(document: PolicyDocument, own: PolicyLimits | undefined): EffectiveLimits {
  const preset = document.defaults?.limits;
  return {
    memoryMb: own?.memoryMb ?? preset?.memoryMb ?? DEFAULT_LIMITS.memoryMb,
    cpuMs: own?.cpuMs ?? preset?.cpuMs ?? DEFAULT_LIMITS.cpuMs,
    wallMs: own?.wallMs ?? preset?.wallMs ?? DEFAULT_LIMITS.wallMs,
    outputBytes: own?.outputBytes ?? preset?.outputBytes ?? DEFAULT_LIMITS.outputBytes,
    logBytes: own?.logBytes ?? preset?.logBytes ?? DEFAULT_LIMITS.logBytes,
    hostCalls: own?.hostCalls ?? preset?.hostCalls ?? DEFAULT_LIMITS.hostCalls,
  };
}

export function toPolicy(compiled: CompiledPolicy): Policy {
  return {
    policyHash: compiled.policyHash,
    identify: identifier(compiled.publishers),
    decide: (request) => decide(compiled, request),
    stopRunning: compiled.stopRunning,
    strictRuntimes: compiled.strictRuntimes,
  };
}

/** `sha256:<64 hex>` of the canonical text: the checked document as JSON with sorted keys, so comments don't count. */
export function hashOf(document: unknown): string {
  return `sha256:${createHash('sha256').update(canonicalText(document)).digest('hex')}`;
}

function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}
