/** Where host cases are run, as they see it. Types only; opened by bench.ts. */
import type { HostProcess } from '@flowops/proto/host-process.ts';
import type { HostileBundle } from './bundle-text.ts';
import type { Canaries } from './canaries.ts';
import type { DockerView } from './docker-view.ts';

export interface BenchHost {
  readonly process: HostProcess;
  /** All it has logged so far. */
  log(): string;
  /** Another policy in its place; resolves when the host decides by it. */
  reload(policy: string): Promise<void>;
  /** @returns what it left behind; empty when nothing. Idempotent. */
  close(): Promise<readonly string[]>;
}

export interface OpenHostOptions {
  /** A whole policy, JSON or YAML. */
  readonly policy: string;
  /** Another main file than the product's. */
  readonly entry?: URL;
  /** Instead of the one that Docker has. */
  readonly dockerHost?: string;
}

export interface Bench {
  readonly canaries: Canaries;
  /** For files of a case; removed with the bench. */
  readonly folder: string;
  /** Of a host that a case starts by itself. */
  readonly hostEnv: Readonly<Record<string, string | undefined>>;
  readonly neighbour: HostileBundle;
  /** For what is left of containers; undefined where there is no Docker. */
  readonly docker: DockerView | undefined;
  openHost(options: OpenHostOptions): Promise<BenchHost>;
  /** @returns what its hosts left behind. Idempotent. */
  close(): Promise<readonly string[]>;
}
