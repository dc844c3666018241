/** The decision of a policy about one attempt (types; the function follows in this file). */
export type { Decision, Policy, PolicyRequest, RefuseDecision, RunDecision, Tier } from './decision.ts';
