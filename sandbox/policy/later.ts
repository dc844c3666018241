/**
 * Keys of the schema whose work comes with a later release. A policy that uses one is refused by name and line: a key
 * that reads as protection and does nothing would be worse than an error. An empty list or map uses nothing.
 * When a key is put to work, its line leaves this file.
 */
import type { KeyPath } from './document.ts';
import type { PolicyDocument, PolicyRule, PolicyTest } from './schema.ts';

export interface LaterKey {
  readonly path: KeyPath;
  /** Begins a sentence that ends with "not available in this release". */
  readonly what: string;
}

const SIGNATURES = 'signatures (publishers and their keys) are';
const NETWORK = 'network access for plugins is';
const SECRETS = 'secrets for plugins are';

export function laterKeys(policy: PolicyDocument): LaterKey[] {
  const found: LaterKey[] = [];
  const add = (isUsed: boolean, path: KeyPath, what: string) => {
    if (isUsed) found.push({ path, what });
  };
  add(Object.keys(policy.publishers ?? {}).length > 0, ['publishers'], SIGNATURES);
  add((policy.revoked?.keys ?? []).length > 0, ['revoked', 'keys'], SIGNATURES);
  add(policy.stopRunning === true, ['stopRunning'], 'ending steps that already run is');
  add(policy.strictRuntimes === true, ['strictRuntimes'], 'the container tier and its runtimes are');
  for (const [index, rule] of (policy.rules ?? []).entries()) addRule(rule, ['rules', index], add);
  for (const [index, test] of (policy.tests ?? []).entries()) addTest(test, ['tests', index], add);
  return found;
}

type Add = (isUsed: boolean, path: KeyPath, what: string) => void;

function addRule(rule: PolicyRule, at: KeyPath, add: Add): void {
  add(rule.match.publisher !== undefined, [...at, 'match', 'publisher'], SIGNATURES);
  add(rule.match.unsigned === false, [...at, 'match', 'unsigned'], SIGNATURES);
  add((rule.grants?.net ?? []).length > 0, [...at, 'grants', 'net'], NETWORK);
  add((rule.grants?.secrets ?? []).length > 0, [...at, 'grants', 'secrets'], SECRETS);
  add(Object.keys(rule.container ?? {}).length > 0, [...at, 'container'], 'the container tier and its options are');
  add(rule.freshness === 'context', [...at, 'freshness'], 'freshness: context is');
  add(rule.onViolation !== undefined, [...at, 'onViolation'], 'demotion after violations is');
}

function addTest(test: PolicyTest, at: KeyPath, add: Add): void {
  add(test.publisher !== undefined, [...at, 'publisher'], SIGNATURES);
  add((test.expect.net ?? []).length > 0, [...at, 'expect', 'net'], NETWORK);
  add((test.expect.secrets ?? []).length > 0, [...at, 'expect', 'secrets'], SECRETS);
}
