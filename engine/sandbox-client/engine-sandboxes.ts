/** The sandbox hosts of an engine as its composition sees them: beside what runs need, for building plugins and for health. */
import type { SandboxHost } from '@flowops/proto/attempt.ts';
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { Sandboxes } from './sandboxes.ts';

export type OpenedHost =
  | { readonly ok: true; readonly host: SandboxHost }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

export type HostHealth =
  | {
      /** As in SANDBOX_URL; `local` for the host that the engine started. */
      readonly address: string;
      readonly state: 'connected' | 'draining';
      readonly instance: string;
      /** Of this engine. */
      readonly attempts?: number;
    }
  | { readonly address: string; readonly state: 'unreachable'; readonly problem: string };

export interface EngineSandboxes extends Sandboxes {
  /** The host for evaluating a bundle; a failure while none is connected. */
  opened(): OpenedHost;
  health(): readonly HostHealth[];
}
