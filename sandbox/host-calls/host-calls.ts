/**
 * What plugins ask of their host: one `AttemptHostCalls` for each attempt, the same in every tier. Counts and answers;
 * never trusts a payload, never rejects.
 */
import type { Receipt } from '@flowops/proto/receipt.ts';
import type { Grants } from '../policy/decision.ts';
import type { HostCallAnswer, TierHostCall } from '../tier.ts';

export interface HostCallsRequest {
  /** The manifest's name, for messages. */
  readonly pluginName: string;
  /** "rule 2 (sandbox-policy.yaml:14)". */
  readonly rule: string;
  readonly grants: Grants;
  readonly maxCalls: number;
}

/** The host calls' part of a receipt. */
export type HostCallFigures = Pick<Receipt, 'hostCalls' | 'net' | 'secrets'>;

export interface AttemptHostCalls {
  call(call: TierHostCall): Promise<HostCallAnswer>;
  figures(): HostCallFigures;
  /** Text on its way to people, with the secrets that this attempt read taken out. */
  redact(text: string): string;
  /** The attempt has ended: what is open is given up. Idempotent. */
  close(): void;
}

const MAX_METHOD_LENGTH = 64;

export function openHostCalls(request: HostCallsRequest): AttemptHostCalls {
  let hostCalls = 0;
  return {
    call: async ({ method }) => {
      hostCalls++;
      if (hostCalls > request.maxCalls) {
        return { ok: false, code: 'LIMIT_HOST_CALLS', message: `more than ${request.maxCalls} host calls` };
      }
      const what = method.slice(0, MAX_METHOD_LENGTH);
      const message = `${request.pluginName} asked for ${what}; ${request.rule} grants no host calls`;
      return { ok: false, code: 'POLICY_DENIED', message };
    },
    figures: () => ({ hostCalls, net: [], secrets: [] }),
    redact: (text) => text,
    close: () => {},
  };
}
