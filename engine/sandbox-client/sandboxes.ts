/** The sandbox hosts that an engine can use, as the runs see them. */
import type { SandboxHost } from '@flowops/proto/attempt.ts';

export interface Sandboxes {
  /** The host for the next attempt; undefined while none is connected. */
  pick(): SandboxHost | undefined;
  /** A connected host by its instance name. */
  find(instance: string): SandboxHost | undefined;
  /** Attempts that all connected hosts take at once; 0 while none is connected. */
  capacity(): number;
  /** Calls back when a host came or went. */
  onChange(listener: () => void): void;
  /** Ends the connections, and the hosts that we started. Idempotent. */
  close(): Promise<void>;
}
