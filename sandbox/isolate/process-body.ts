/**
 * A worker that is a process of this machine: its child (worker-child.ts), with the cgroup that it has where we may make
 * one. Figures come from the cgroup, else from /proc.
 */
import type { Duplex } from 'node:stream';
import type { SandboxFigures } from '../steps/live-step.ts';
import type { KernelFigures } from '../steps/step-end.ts';
import type { ProcessConfinement } from './confinement.ts';
import type { WorkerCommand } from './jail.ts';
import type { Autopsy, Confinement, WorkerBody } from './worker-body.ts';
import type { WorkerCgroup } from './worker-cgroup.ts';
import { WorkerChild } from './worker-child.ts';

export interface ProcessBodyOptions {
  readonly command: WorkerCommand;
  readonly confinement: ProcessConfinement;
  readonly cgroup: WorkerCgroup | undefined;
}

export class ProcessBody implements WorkerBody {
  readonly confinement: Confinement;
  readonly aged = new Promise<void>(() => {});
  readonly #options: ProcessBodyOptions;
  readonly #child: WorkerChild;
  readonly #cgroup: WorkerCgroup | undefined;
  #lastCpuMs: number | undefined;

  constructor(options: ProcessBodyOptions) {
    this.confinement = { kind: options.command.isJailed ? 'namespaces' : 'none' };
    this.#options = options;
    this.#child = new WorkerChild(options.command);
    this.#cgroup = options.cgroup;
  }

  get stream(): Duplex {
    return this.#child.stream;
  }

  get gone(): Promise<void> {
    return this.#child.gone;
  }

  get lastWords(): string {
    return this.#child.lastWords;
  }

  get pollsMemory(): boolean {
    return this.#cgroup === undefined;
  }

  async confirm(): Promise<string | undefined> {
    return this.#child.confirm(this.#options.confinement);
  }

  cpuMs(): number | undefined {
    this.#lastCpuMs = this.#cgroup?.cpuMs() ?? this.#child.cpuMs() ?? this.#lastCpuMs;
    return this.#lastCpuMs;
  }

  figures(): SandboxFigures | undefined {
    const cpuMs = this.cpuMs();
    const delayMs = this.#child.delayMs();
    return cpuMs === undefined || delayMs === undefined ? undefined : { atMs: performance.now(), cpuMs, delayMs };
  }

  measure(): () => KernelFigures {
    const baseMs = this.cpuMs();
    const group = this.#cgroup;
    const hasPeak = group === undefined ? this.#child.resetPeakResident() : group.resetPeak();
    return () => {
      const nowMs = this.cpuMs();
      const peak = group === undefined ? this.#child.peakResidentBytes() : group.peakBytes();
      return {
        cpuMs: baseMs === undefined || nowMs === undefined ? undefined : Math.max(0, nowMs - baseMs),
        peakMemoryBytes: hasPeak ? peak : undefined,
      };
    };
  }

  memoryBytes(): number | undefined {
    return this.#child.residentBytes();
  }

  delayMs(): number | undefined {
    return this.#child.firstThreadDelayMs();
  }

  hasChildren(): boolean {
    return this.#child.hasChildren();
  }

  makeRoom(bytes: number): void {
    try {
      this.#cgroup?.setLimit(bytes);
    } catch {
      // The old, lower limit stays in force.
    }
  }

  kill(): void {
    this.#child.kill();
  }

  async examine(): Promise<Autopsy> {
    return { isOom: (this.#cgroup?.oomKills() ?? 0) > 0, fault: undefined };
  }

  async remove(): Promise<void> {
    await this.#cgroup?.remove();
  }
}
