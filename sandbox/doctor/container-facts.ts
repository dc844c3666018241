/** What a policy must know about the containers of this machine (policy/machine.ts), asked of Docker. Never throws. */
import type { DockerFacts as ContainerFacts } from '../policy/machine.ts';
import { type DockerFacts, openDockerView } from './docker-view.ts';
import { type HoleFinding, holesByRuntime, knownHoles } from './known-holes.ts';
import { partVersions } from './part-versions.ts';

export interface MachineFindings {
  readonly containers: ContainerFacts;
  /** Of the kernel too, where there is no Docker. Each is to be named in the log when a host starts. */
  readonly holes: readonly HoleFinding[];
}

/** Takes as long as the daemon needs to answer, seconds at most. */
export async function machineFindings(): Promise<MachineFindings> {
  const opened = await openDockerView();
  if (!opened.ok) {
    const holes = knownHoles(await partVersions(undefined));
    return { containers: { kind: 'absent', problem: opened.problem }, holes };
  }
  return findingsOf(opened.facts);
}

export async function findingsOf(facts: DockerFacts): Promise<MachineFindings> {
  const holes = knownHoles(await partVersions(facts));
  const { runtimes, lacks } = facts;
  return { containers: { kind: 'available', runtimes, lacks, knownHoles: holesByRuntime(holes, runtimes) }, holes };
}
