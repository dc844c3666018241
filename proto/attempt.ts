/**
 * One attempt of a step as its caller sees it: what is asked of a sandbox host, and how it can end. The wire form is
 * sandbox.proto; `sandbox-client.ts` turns one into the other. Also the seam at which tests put a hand-written host.
 */
import type { ErrorCode } from './errors.ts';
import type { BundleResult } from './plugin-source.ts';
import type { Receipt } from './receipt.ts';

/** 128 bits from a cryptographic source, as 32 hex digits; only the caller knows it (design 5.1). */
export type AttemptToken = string;

export interface AttemptRequest {
  readonly token: AttemptToken;
  /** `inspect` evaluates the bundle without grants and gives its manifest as the outputs. */
  readonly purpose: 'run' | 'inspect';
  readonly flowId: string;
  readonly runId: string;
  readonly stepId: string;
  /** From 1. */
  readonly attempt: number;
  readonly epoch: number;
  readonly pluginId: string;
  readonly pluginVersion: string;
  readonly digest: string;
  /** Text of the bundle's .sig file as it is known now; absent = unsigned. */
  readonly signature?: string;
  /** Text of one JSON object, values already of the declared types. */
  readonly inputsJson: string;
  readonly idempotencyKey: string;
  readonly requestedWallMs?: number;
  readonly requestedTier?: 'isolate' | 'container';
  /** Debugged by whoever asks: calls of debug-messages.ts come to `onHostCall`. Only a host started for it takes it. */
  readonly debug?: true;
  /** Asked only when the host does not hold the bundle. MUST give the bytes of `digest`. */
  readonly bundle: () => Promise<BundleResult>;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface LogLine {
  /** Epoch ms, host clock. */
  readonly timeMs: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

export interface AttemptListener {
  onStarted?(): void;
  onLog?(line: LogLine): void;
  onProgress?(progress: { fraction: number; message: string }): void;
  /** Of a debugged attempt (debug-messages.ts). Resolves with the answer's JSON; never rejects. */
  onHostCall?(call: { method: string; payloadJson: string }): Promise<string>;
}

export type AttemptOutcome =
  | { readonly status: 'COMPLETED'; readonly outputsJson: string; readonly receipt: Receipt | null }
  | {
      readonly status: 'FAILED';
      readonly code: ErrorCode;
      readonly message: string;
      readonly receipt: Receipt | null;
      /** Frames of the plugin's own code, empty when there are none. */
      readonly stack: string;
      /** False when the plugin asked not to be run again. */
      readonly retryable: boolean;
      /** What the plugin asked for; 0 = as configured. */
      readonly retryAfterMs: number;
    }
  | { readonly status: 'CANCELLED'; readonly message: string; readonly receipt: Receipt | null }
  /** Its host is gone, or could not be reached for longer than its lease, and how it ended will never be told. */
  | {
      readonly status: 'LOST';
      readonly message: string;
      /** How long from now code of it may still run at most; 0: that none runs is proven. */
      readonly aliveForMs: number;
      /** The host's process ended while the attempt was with it: the attempt may be why. */
      readonly hostEnded: boolean;
    };

export interface Attempt {
  /** Settles once, never rejects. */
  readonly outcome: Promise<AttemptOutcome>;
  /** Signal and `stop()` first, kill after `graceMs`. The outcome still tells how it ended. Idempotent. */
  cancel(options: { graceMs: number; reason: string }): void;
  /** Advice to the plugin. */
  pause(): void;
  resume(): void;
  /** The outcome is durable; the host may forget it. Idempotent. */
  acknowledge(): void;
  /**
   * Lets go of it without ending it, because the run has another owner: nothing more is told, `outcome` never settles. From
   * now on the host ends it when nobody attaches within its lease. Idempotent.
   */
  leave(): void;
}

export type AttachResult =
  | { readonly state: 'running' | 'ended'; readonly attempt: Attempt }
  /**
   * unknown: the host never had it, or forgot it after its end: nothing of it runs there. refused: a newer owner was there.
   * lost: the connection ended before the answer; nothing is known.
   */
  | { readonly state: 'unknown' | 'refused' | 'lost' };

/** A sandbox host that is or was connected. */
export interface SandboxHost {
  /** The host's instance name, of this process and never used again; stored with the attempts it runs. */
  readonly instance: string;
  readonly maxAttempts: number;
  /** Other engines reach it too (SANDBOX_URL), and its attempts can change hands; a host that we started is private. */
  readonly isShared: boolean;
  /** Settles when the connection ended, with why. */
  readonly closed: Promise<{ readonly reason: string }>;
  /** Starts at once; the host queues. On a closed connection the outcome is LOST. */
  run(request: AttemptRequest, listener: AttemptListener): Attempt;
  attach(
    request: Pick<AttemptRequest, 'token' | 'flowId' | 'runId' | 'epoch'>,
    listener: AttemptListener,
  ): Promise<AttachResult>;
  /** Ends the connection (and the process, when we started it). Idempotent. */
  close(): Promise<void>;
}
