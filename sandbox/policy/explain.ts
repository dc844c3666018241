/** A decision in words, why it came out like that, and the rule that would give the same, ready to paste. Pure. */
import { showControls } from '@flowops/proto/terminal-text.ts';
import { type CompiledPolicy, ruleFor } from './decide.ts';
import type { Decision, PolicyRequest, RunDecision } from './decision.ts';
import { whyNot } from './match.ts';
import { grantsText } from './permissions.ts';
import { yamlText } from './refusal.ts';
import { LIMIT_NAMES } from './schema.ts';

/** Rules told of before the one that decides. */
const MAX_PASSED_RULES = 10;

export interface Explained {
  readonly request: PolicyRequest;
  readonly decision: Decision;
  /** Why a signature that is there does not count. */
  readonly signatureProblem: string | undefined;
  /** Violations that this host has counted. */
  readonly violations: number;
  /** The policy's `plugins` holds its pluginId. */
  readonly isNamed: boolean;
  readonly why: readonly string[];
}

export function explainDecision(explained: Explained): string {
  const { request, decision, signatureProblem, why } = explained;
  const { pluginId, name, version, digest, publisher } = request;
  const signed = publisher === undefined ? 'unsigned' : `signed by ${publisher}`;
  const head = [
    `${name} ${version}, published as ${showControls(pluginId)}, ${signed}`,
    `  ${digest}`,
    ...(signatureProblem === undefined ? [] : [`  counts as unsigned: ${showControls(signatureProblem)}`]),
  ];
  if (decision.kind === 'refuse') {
    return [...head, `refused: ${decision.code}: ${decision.message}`, ...whyLines(why)].join('\n');
  }
  return [
    ...head,
    `decided by ${decision.rule}`,
    ...whyLines(why),
    ...termRows(decision, explained).map(([key, text]) => `  ${key.padEnd(11)} ${text}`),
    '',
    'the same for these bytes alone, as a rule:',
    pasteableRule(request, decision),
  ].join('\n');
}

function whyLines(why: readonly string[]): string[] {
  return why.map((line) => `  ${showControls(line)}`);
}

function termRows(decision: RunDecision, { request, violations, isNamed }: Explained): [string, string][] {
  const { tier, jail, freshness, grants, container, concurrent, policyHash, limits } = decision;
  const { runtime, pids, cpus, tmpfsMb } = container;
  const secrets = grants.secrets.map(({ name, hosts }) => `${name} (to ${hosts.join(', ') || 'no host'})`);
  return [
    ['policy', policyHash],
    ['tier', tier],
    ['jail', jail],
    ['freshness', freshness],
    ...LIMIT_NAMES.map((limit): [string, string] => [limit, String(limits[limit])]),
    ['concurrent', String(concurrent)],
    ['network', grants.net.join(', ') || 'none'],
    ['secrets', secrets.join(', ') || 'none'],
    ['WebAssembly', grants.wasm ? 'yes' : 'no'],
    ['container', `${runtime}, ${pids} pids, ${cpus} cpus, ${tmpfsMb} MB of /tmp`],
    ['violations', violationsText(decision, request, violations)],
    ['name', nameText(decision, request, isNamed)],
  ];
}

function violationsText({ onViolation }: RunDecision, { history, name }: PolicyRequest, violations: number): string {
  const { demotion } = history ?? {};
  if (demotion !== undefined) {
    return (
      `demoted to the container tier since ${demotion.since} (the last of ${demotion.violations}: ${demotion.code}); ` +
      `to lift: flowops policy demotions --lift ${name}`
    );
  }
  if (onViolation === undefined) return 'not counted';
  return `${violations} of ${onViolation.demoteAfter}, then to the container tier`;
}

function nameText({ pinsName }: RunDecision, { pluginId, name }: PolicyRequest, isNamed: boolean): string {
  const id = showControls(pluginId);
  if (isNamed) return `plugins of the policy says that ${id} is ${name}`;
  if (pinsName === true) return `the first use here keeps it as the name of ${id}`;
  return `the one that ${id} was first used under here, or that was agreed to`;
}

/**
 * What was looked at before the decision: the rules that did not match, and by which key; for a refusal of the rules'
 * own the message says it all.
 */
export function whyDecided(policy: CompiledPolicy, request: PolicyRequest): string[] {
  const decided = ruleFor(policy, request);
  const passed = policy.rules.slice(0, decided === undefined ? undefined : policy.rules.indexOf(decided));
  const lines = passed.slice(0, MAX_PASSED_RULES).map(({ match, terms }) => {
    const reason = whyNot(match, request, 'grant');
    return `${terms.place} does not match: ${reason ?? 'its keys do not hold together'}`;
  });
  if (passed.length > lines.length) lines.push(`${passed.length - lines.length} more rules do not match`);
  lines.push(
    decided === undefined ? 'no rule matches: the defaults decide' : `${decided.terms.place} is the first that matches`,
  );
  return lines;
}

/** YAML that fits below `rules:`. */
export function pasteableRule({ name, digest, publisher }: PolicyRequest, decision: RunDecision): string {
  const { tier, jail, grants, concurrent, limits, container, onViolation } = decision;
  // A context needs a publisher to vouch for it; for everything else the digest is proof enough.
  const isContext = decision.freshness === 'context' && publisher !== undefined;
  const numbers = LIMIT_NAMES.map((limit) => `${limit}: ${limits[limit]}`).join(', ');
  const { runtime, pids, cpus, tmpfsMb } = container;
  const isGranted = grants.net.length > 0 || grants.secrets.length > 0 || grants.wasm;
  return [
    `  - match: { plugin: "${name}", digest: "${digest}"${isContext ? `, publisher: ${yamlText(publisher)}` : ''} }`,
    `    tier: ${tier}`,
    `    limits: { ${numbers} }`,
    `    concurrent: ${concurrent}`,
    ...(isGranted ? [`    grants: ${grantsText(grants)}`] : []),
    `    container: { runtime: ${runtime}, pids: ${pids}, cpus: ${cpus}, tmpfsMb: ${tmpfsMb} }`,
    ...(isContext ? ['    freshness: context'] : []),
    ...(jail === 'none' ? ['    jail: none'] : []),
    ...(onViolation === undefined ? [] : [`    onViolation: { demote: ${onViolation.demoteAfter} }`]),
  ].join('\n');
}
