/**
 * From a policy file to a policy in force, or to every problem in it at once, each with file, line and key.
 * Stages: bytes, YAML, schema, meaning of the rules together with this machine, the file's own tests. A stage runs
 * only on what the one before accepted, so that one mistake is told once. What loads and is most likely not what was
 * meant is a warning.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { messageOf } from '@flowops/proto/errors.ts';
import { compilePolicy, toPolicy } from './compile.ts';
import type { CompiledPolicy } from './decide.ts';
import type { Policy } from './decision.ts';
import { MAX_POLICY_BYTES, type PolicyProblem, type PolicyText, problemsOf, readPolicyText } from './document.ts';
import {
  asksForDocker,
  checkMachine,
  type DockerFacts,
  type Machine,
  machineWarnings,
  thisMachine,
} from './machine.ts';
import { checkPublishers, publisherWarnings } from './publishers-check.ts';
import { checkRules, type RuleProblem, ruleWarnings } from './rules-check.ts';
import { type PolicyDocument, policySchema } from './schema.ts';
import { checkTests } from './tests-check.ts';

export interface LoadedPolicy {
  readonly ok: true;
  readonly file: string;
  readonly policy: Policy;
  readonly compiled: CompiledPolicy;
  readonly document: PolicyDocument;
  readonly warnings: readonly PolicyProblem[];
}

export type LoadResult = LoadedPolicy | { readonly ok: false; readonly problems: readonly PolicyProblem[] };

export interface LoadOptions {
  /** Default: memory and cores of this one. */
  readonly machine?: Machine;
  /** What Docker can do; asked only when the policy depends on it. Absent: nothing is refused for it. */
  readonly docker?: () => Promise<DockerFacts>;
}

/** Never throws. */
export async function loadPolicy(file: string, options: LoadOptions = {}): Promise<LoadResult> {
  const { machine = thisMachine(), docker } = options;
  const whole = (message: string): LoadResult => ({ ok: false, problems: [{ file, line: 0, key: '', message }] });
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (thrown) {
    return whole(unreadable(thrown));
  }
  if (bytes.length > MAX_POLICY_BYTES) return whole(`has ${bytes.length} bytes; at most ${MAX_POLICY_BYTES} are read`);
  let source: string;
  try {
    source = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return whole('is not UTF-8 text');
  }
  const loaded = parsePolicy(file, source, machine);
  if (!loaded.ok || docker === undefined || !asksForDocker(loaded.document)) return loaded;
  return parsePolicy(file, source, { ...machine, containers: await docker() });
}

/** The same for text that is already here. */
export function parsePolicy(file: string, source: string, machine: Machine = thisMachine()): LoadResult {
  const read = readPolicyText(file, source);
  if (!read.ok) return read;
  const { text } = read;
  if (text.value === null || text.value === undefined) {
    return { ok: false, problems: [text.problem([], 'the file is empty; a policy begins with version: 1')] };
  }
  const parsed = policySchema.safeParse(text.value);
  if (!parsed.success) return { ok: false, problems: inOrder(problemsOf(text, policySchema, parsed.error)) };
  const document = parsed.data;
  const meaning = [...checkPublishers(document), ...checkRules(document), ...checkMachine(document, machine)];
  if (meaning.length > 0) return failed(text, meaning);
  const compiled = compilePolicy(document, { file: basename(file), lineOf: text.lineOf });
  const unmet = checkTests(compiled, document.tests ?? []);
  if (unmet.length > 0) return failed(text, unmet);
  const warnings = placed(text, [
    ...publisherWarnings(document, Date.now()),
    ...ruleWarnings(document),
    ...machineWarnings(document, machine),
  ]);
  return { ok: true, file, policy: toPolicy(compiled), compiled, document, warnings };
}

function unreadable(thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EISDIR') return 'is a folder; name the policy file in it';
  if (code === 'EACCES') return 'may not be read by this user';
  return `cannot be read: ${messageOf(thrown)}`;
}

function failed(text: PolicyText, found: readonly RuleProblem[]): LoadResult {
  return { ok: false, problems: placed(text, found) };
}

function placed(text: PolicyText, found: readonly RuleProblem[]): PolicyProblem[] {
  return inOrder(found.map(({ path, message }) => text.problem(path, message)));
}

function inOrder(problems: PolicyProblem[]): PolicyProblem[] {
  return problems.sort((a, b) => a.line - b.line);
}
