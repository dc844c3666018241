/** A decision in words, and the rule that would give the same, ready to paste into a policy. */
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { Decision, PolicyRequest, RunDecision } from './decision.ts';
import { LIMIT_NAMES } from './schema.ts';

export function explainDecision(request: PolicyRequest, decision: Decision): string {
  const { pluginId, name, version, digest } = request;
  const head = [`${name} ${version}, published as ${showControls(pluginId)}, unsigned`, `  ${digest}`];
  if (decision.kind === 'refuse') return [...head, `refused: ${decision.code}: ${decision.message}`].join('\n');
  const { tier, jail, grants, concurrent, rule, policyHash, limits } = decision;
  return [
    ...head,
    `decided by ${rule}${rule === 'defaults' ? ' (no rule matches)' : ' (the first that matches)'}`,
    `  policy      ${policyHash}`,
    `  tier        ${tier}${tier === 'container' ? ' (not available in this release: a step fails with SANDBOX_UNAVAILABLE)' : ''}`,
    `  jail        ${jail}`,
    ...LIMIT_NAMES.map((limit) => `  ${limit.padEnd(11)} ${limits[limit]}`),
    `  concurrent  ${concurrent}`,
    `  grants      ${grants.wasm ? 'WebAssembly' : 'nothing'}`,
    '',
    'the same for these bytes alone, as a rule:',
    pasteableRule(request, decision),
  ].join('\n');
}

function pasteableRule(
  { name, digest }: PolicyRequest,
  { tier, jail, grants, concurrent, limits }: RunDecision,
): string {
  const numbers = LIMIT_NAMES.map((limit) => `${limit}: ${limits[limit]}`).join(', ');
  return [
    `  - match: { plugin: "${name}", digest: "${digest}" }`,
    `    tier: ${tier}`,
    `    limits: { ${numbers} }`,
    `    concurrent: ${concurrent}`,
    ...(jail === 'none' ? ['    jail: none'] : []),
    ...(grants.wasm ? ['    grants: { wasm: true }'] : []),
  ].join('\n');
}
