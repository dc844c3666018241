/** Where a sandbox host gets its policy from (types; `openPolicy` follows in this file). */
import type { Policy } from './decision.ts';

/** A pino logger is one. */
export interface PolicyLog {
  info(message: string): void;
  error(message: string): void;
}

export interface OpenPolicyOptions {
  /** SANDBOX_POLICY. Absent: strict defaults, or the developer policy. */
  readonly file?: string;
  /** `sandbox/main.ts --developer-policy`. Not together with `file`. */
  readonly developer?: boolean;
  readonly log: PolicyLog;
}

export interface PolicySource {
  /** The policy in force now. Ask at every Invoke, never keep it. */
  current(): Policy;
  /** Called after a reload put another policy in force; returns the unsubscriber. */
  onChange(listener: (policy: Policy) => void): () => void;
  /** Stops watching the file. Idempotent. */
  close(): Promise<void>;
}
