/**
 * What the kernel tells about one worker as a whole: from its cgroup where it has one, else from /proc. For the limits
 * that the host enforces and for the figures of a receipt whose source is the host.
 */
import type { SandboxFigures } from '../steps/live-step.ts';
import type { KernelFigures } from '../steps/step-end.ts';
import type { WorkerCgroup } from './worker-cgroup.ts';
import type { WorkerChild } from './worker-child.ts';

export class WorkerGauge {
  readonly #child: WorkerChild;
  readonly #cgroup: WorkerCgroup | undefined;
  #lastCpuMs: number | undefined;

  constructor(child: WorkerChild, cgroup: WorkerCgroup | undefined) {
    this.#child = child;
    this.#cgroup = cgroup;
  }

  /** Everything the worker ran so far; of one that is gone, what was seen last. */
  cpuMs(): number | undefined {
    this.#lastCpuMs = this.#cgroup?.cpuMs() ?? this.#child.cpuMs() ?? this.#lastCpuMs;
    return this.#lastCpuMs;
  }

  now(): SandboxFigures | undefined {
    const cpuMs = this.cpuMs();
    const delayMs = this.#child.delayMs();
    return cpuMs === undefined || delayMs === undefined ? undefined : { atMs: performance.now(), cpuMs, delayMs };
  }

  /** Measures from now on; the answer gives what was used since. Only one measurement counts at a time. */
  begin(): () => KernelFigures {
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
}
