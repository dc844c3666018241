/** What a policy must know about this machine (policy/machine.ts), asked of Docker and of the system. Never throws. */
import type { DockerFacts as ContainerFacts } from '../policy/machine.ts';
import { type DockerFacts, openDockerView } from './docker-view.ts';
import { exceptedHoles, type HoleFinding, holesByRuntime, holesUnderIsolates, knownHoles } from './known-holes.ts';
import { partVersions } from './part-versions.ts';

export interface MachineFindings {
  readonly containers: ContainerFacts;
  readonly holes: readonly HoleFinding[];
}

/** Takes as long as the daemon needs to answer, seconds at most. */
export async function machineFindings(): Promise<MachineFindings> {
  const opened = await openDockerView();
  if (opened.ok) return findingsOf(opened.facts);
  const holes = knownHoles(await partVersions(undefined));
  return { containers: { kind: 'absent', problem: opened.problem, ...factsOf(holes) }, holes };
}

export async function findingsOf(facts: DockerFacts): Promise<MachineFindings> {
  const holes = knownHoles(await partVersions(facts));
  const { runtimes, lacks } = facts;
  const byRuntime = holesByRuntime(holes, runtimes);
  return { containers: { kind: 'available', runtimes, lacks, knownHoles: byRuntime, ...factsOf(holes) }, holes };
}

function factsOf(holes: readonly HoleFinding[]): Pick<ContainerFacts, 'isolateHoles' | 'exceptedHoles'> {
  return { isolateHoles: holesUnderIsolates(holes), exceptedHoles: exceptedHoles(holes) };
}
