/**
 * What the rules mean together, beyond their shapes: a name is only a claim, a denial gives nothing, a rule must be
 * able to match, what it gives must fit together. Pure; the places of problems are key paths.
 */
import { hostOfGrant, isName, kindOfHost, openingGrant, wordsOfHost } from '../host-calls/place-kind.ts';
import { containerOf, tierOf } from './compile.ts';
import { LEAST_RUNSC_PIDS, MAX_CONTAINER_WALL_MS } from './default-limits.ts';
import type { KeyPath } from './document.ts';
import { whyUnreachable } from './reachable.ts';
import type { PolicyDocument, PolicyRule } from './schema.ts';

export interface RuleProblem {
  readonly path: KeyPath;
  readonly message: string;
}

const GIVING_KEYS = [
  'tier',
  'limits',
  'grants',
  'container',
  'freshness',
  'jail',
  'concurrent',
  'onViolation',
] as const;

export function checkRules(policy: PolicyDocument): RuleProblem[] {
  const rules = policy.rules ?? [];
  return [
    ...checkIds(policy),
    ...checkContainerWall(policy),
    ...rules.flatMap((rule, index) => [
      ...checkDenial(rule, index),
      ...checkClaim(policy, rule, index),
      ...checkTerms(rule).map(({ path, message }) => ({ path: ['rules', index, ...path], message })),
      ...checkReachable(policy, index),
    ]),
  ];
}

/** A UUID is the same in any letter case; of two names for it the later would silently win. */
function checkIds({ plugins = {} }: PolicyDocument): RuleProblem[] {
  const names = new Map<string, string>();
  const found: RuleProblem[] = [];
  for (const [id, name] of Object.entries(plugins)) {
    const other = names.get(id.toLowerCase());
    if (other !== undefined) {
      const message = `this id is listed as ${other} already, in other letters; keep one of the two`;
      found.push({ path: ['plugins', id], message });
    }
    names.set(id.toLowerCase(), other ?? name);
  }
  return found;
}

/** Nothing in a container stands behind a longer limit once its host is gone. */
function checkContainerWall(policy: PolicyDocument): RuleProblem[] {
  const { defaults, rules = [] } = policy;
  const isTooLong = (wallMs: number | undefined): boolean => wallMs !== undefined && wallMs > MAX_CONTAINER_WALL_MS;
  const message = `a step container lives for a day at most; write ${MAX_CONTAINER_WALL_MS} or less, or tier: isolate`;
  const inContainers = rules.flatMap((rule, index) =>
    rule.deny === undefined && tierOf(policy, rule) === 'container' ? [{ wallMs: rule.limits?.wallMs, index }] : [],
  );
  const isInherited =
    tierOf(policy, undefined) === 'container' || inContainers.some(({ wallMs }) => wallMs === undefined);
  const own = inContainers.filter(({ wallMs }) => isTooLong(wallMs));
  return [
    ...(isInherited && isTooLong(defaults?.limits?.wallMs)
      ? [{ path: ['defaults', 'limits', 'wallMs'], message }]
      : []),
    ...own.map(({ index }) => ({ path: ['rules', index, 'limits', 'wallMs'], message })),
  ];
}

/** What loads and is most likely not what was meant. */
export function ruleWarnings(policy: PolicyDocument): RuleProblem[] {
  return (policy.rules ?? []).flatMap((rule, index) =>
    rule.deny === undefined
      ? termWarnings(policy, rule).map(({ path, message }) => ({ path: ['rules', index, ...path], message }))
      : [],
  );
}

function checkDenial(rule: PolicyRule, index: number): RuleProblem[] {
  if (rule.deny === undefined) return [];
  return GIVING_KEYS.filter((key) => rule[key] !== undefined).map((key) => ({
    path: ['rules', index, key],
    message: 'a rule that denies gives nothing else; leave this key out',
  }));
}

/** An unsigned name is only a claim: whoever publishes a plugin chooses it. */
function checkClaim(policy: PolicyDocument, rule: PolicyRule, index: number): RuleProblem[] {
  const { publisher, id, digest, unsigned } = rule.match;
  if (rule.deny !== undefined || publisher !== undefined || id !== undefined || digest !== undefined) return [];
  if (unsigned === true) return [];
  const given = whatNeedsProof(policy, rule);
  if (given === undefined) return [];
  return [
    {
      path: ['rules', index, ...given.path],
      message:
        `gives ${given.what} to a name that anybody can claim. Add id, digest or publisher to match, ` +
        'or unsigned: true to say that you mean unsigned plugins',
    },
  ];
}

function whatNeedsProof(policy: PolicyDocument, rule: PolicyRule): { path: KeyPath; what: string } | undefined {
  const { net = [], secrets = [], wasm = false } = rule.grants ?? {};
  if (net.length > 0) return { path: ['grants', 'net'], what: 'network' };
  if (secrets.length > 0) return { path: ['grants', 'secrets'], what: 'secrets' };
  if (wasm) return { path: ['grants', 'wasm'], what: 'WebAssembly' };
  if (tierOf(policy, rule) !== 'isolate') return undefined;
  return rule.tier === undefined
    ? { path: ['match'], what: 'the isolate tier (from defaults.tier)' }
    : { path: ['tier'], what: 'the isolate tier' };
}

function checkTerms(rule: PolicyRule): RuleProblem[] {
  const found: RuleProblem[] = [];
  if (rule.freshness === 'context' && rule.match.publisher === undefined) {
    found.push({
      path: ['freshness'],
      message: 'a kept isolate is no boundary between steps: context needs a publisher in match',
    });
  }
  if (rule.container?.runtime === 'runsc' && containerOf(rule.container).pids < LEAST_RUNSC_PIDS) {
    found.push({
      path: ['container', 'pids'],
      message: `must be at least ${LEAST_RUNSC_PIDS} with runsc: the threads of gVisor itself count`,
    });
  }
  const names = (rule.grants?.secrets ?? []).map(({ name }) => name);
  for (const [index, name] of names.entries()) {
    if (names.indexOf(name) === index) continue;
    found.push({
      path: ['grants', 'secrets', index, 'name'],
      message: `${name} is listed twice; put its hosts together`,
    });
  }
  return found;
}

function checkReachable(policy: PolicyDocument, index: number): RuleProblem[] {
  const found = whyUnreachable(policy, index);
  return found === undefined ? [] : [{ path: ['rules', index, ...found.key], message: found.message }];
}

/** A secret goes to a place; whether that is private says the grant of the network. */
function placeOf(grant: string): string {
  return grant.replace(/^private:/, '');
}

/** A grant that opens nothing, or more than almost anybody means. */
function netWarning(text: string): string | undefined {
  const host = hostOfGrant(text);
  const words = wordsOfHost(host);
  if (words === undefined) return undefined;
  const isMetadata = kindOfHost(host) === 'metadata';
  if (isMetadata && isName(host)) return 'no grant of this name opens it, only one of the address it leads to';
  const opening = openingGrant(text);
  if (opening !== text) {
    // Where a name leads is known when it is resolved.
    return `${host} is ${words}: ${isName(host) ? 'most likely only' : 'only'} ${opening} opens it`;
  }
  return isMetadata ? `opens the place ${words}: the plugin can act as this machine` : undefined;
}

function termWarnings(policy: PolicyDocument, rule: PolicyRule): RuleProblem[] {
  const found: RuleProblem[] = [];
  const { id } = rule.match;
  if (id !== undefined && id !== id.toLowerCase()) {
    found.push({
      path: ['match', 'id'],
      message: `what a rule gives it gives to exactly this spelling, and commands mostly write ${id.toLowerCase()}`,
    });
  }
  const { net = [], secrets = [] } = rule.grants ?? {};
  for (const [index, text] of net.entries()) {
    const message = netWarning(text);
    if (message !== undefined) found.push({ path: ['grants', 'net', index], message });
  }
  for (const [index, { name, hosts }] of secrets.entries()) {
    const beyond = hosts.filter((host) => !net.some((grant) => placeOf(grant) === placeOf(host)));
    if (beyond.length === 0) continue;
    found.push({
      path: ['grants', 'secrets', index, 'hosts'],
      message: `${name} may go to ${beyond.join(', ')}, which grants.net of this rule does not hold: it will never get there`,
    });
  }
  const { memoryMb } = { ...policy.defaults?.limits, ...rule.limits };
  const { tmpfsMb } = rule.container ?? {};
  if (tmpfsMb !== undefined && memoryMb !== undefined && tmpfsMb >= memoryMb) {
    found.push({
      path: ['container', 'tmpfsMb'],
      message: `what is written to /tmp counts towards limits.memoryMb (${memoryMb}): ${tmpfsMb} MB cannot be filled`,
    });
  }
  if (tierOf(policy, rule) === 'container') {
    const onlyIsolate = [
      ['freshness', rule.freshness === 'context'],
      ['jail', rule.jail === 'none'],
      ['onViolation', rule.onViolation !== undefined],
    ] as const;
    for (const [key, isSet] of onlyIsolate) {
      if (isSet) found.push({ path: [key], message: 'does nothing in the container tier' });
    }
  }
  return found;
}
