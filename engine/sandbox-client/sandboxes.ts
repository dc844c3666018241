/** The sandbox hosts that an engine can use, as the runs see them. */
import type { SandboxHost } from '@flowops/proto/attempt.ts';

/** What is known of a host that a run's state names. */
export type Whereabouts =
  | { readonly state: 'connected'; readonly host: SandboxHost }
  /** Its process has ended, that is proven: nothing that it had runs any more. */
  | { readonly state: 'ended' }
  /** Nothing is known: it may run, and it may come back (`onChange`). */
  | { readonly state: 'unreachable' };

export interface Sandboxes {
  /**
   * The host for the next attempt, the least loaded first; undefined while none is connected or has room. Once for each
   * attempt: the host counts it from here on.
   */
  pick(): SandboxHost | undefined;
  /** By instance name. Cheap, also when it is asked for each of many runs. */
  locate(instance: string): Whereabouts;
  /** Attempts that all connected hosts take at once; 0 while none has room: places would be given and given back without end. */
  capacity(): number;
  /** Calls back when a host came or went, has room again, or is known to have ended. */
  onChange(listener: () => void): void;
  /** Ends the connections, and the hosts that we started. Idempotent. */
  close(): Promise<void>;
}
