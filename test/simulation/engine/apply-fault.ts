/** Makes a planned fault happen, and undoes it when its time is over. */
import { COMMANDS } from '../broker/broker.ts';
import type { Fault } from '../plan/faults.ts';
import type { Cluster } from './cluster.ts';
import type { EngineNode } from './engine-node.ts';

export function applyFault(cluster: Cluster, fault: Fault): void {
  const { world } = cluster;
  const node = 'engine' in fault ? cluster.nodes[fault.engine] : undefined;
  world.tell('fault', JSON.stringify(fault));
  switch (fault.kind) {
    case 'kill-engine':
      node?.process?.onDeath(() => startAgain(cluster, node, fault.downMs));
      node?.kill();
      return;
    case 'crash-engine': {
      const process = node?.process;
      process?.crashAt(fault.calls, fault.point);
      world.at(fault.withinMs, () => process?.kill());
      process?.onDeath(() => startAgain(cluster, node, fault.downMs));
      return;
    }
    case 'stop-engine': {
      const process = node?.process;
      process?.stop();
      world.at(fault.forMs, () => process?.wake());
      return;
    }
    case 'end-engine': {
      const process = node?.process;
      process?.enter(() => void node?.terminate());
      // Whoever started it gives up waiting.
      world.at(40_000, () => process?.kill());
      process?.onDeath(() => startAgain(cluster, node, fault.downMs));
      return;
    }
    case 'cut-engine':
      node?.cut(fault.from);
      world.at(fault.forMs, () => node?.mend(fault.from));
      return;
    case 'cut-host': {
      cluster.cutHost(fault.engine, fault.host);
      world.at(fault.forMs, () => node?.paths[fault.host]?.mend());
      return;
    }
    case 'kill-host':
      (cluster.sharedHosts[fault.host] ?? node?.ownHost)?.kill();
      return;
    case 'store-away':
      cluster.store.fail(fault.forMs, fault.lostMs, fault.scope);
      return;
    case 'broker-away':
      cluster.broker.isUp = false;
      world.at(fault.forMs, () => {
        cluster.broker.isUp = true;
      });
      return;
    case 'add-partition':
      cluster.broker.addPartition(COMMANDS);
      cluster.group.partitionsChanged();
      return;
  }
}

function startAgain({ world, violations }: Cluster, node: EngineNode | undefined, delayMs: number): void {
  world.at(delayMs, () => {
    node?.start().catch((thrown) => violations.report('bug', `${node.name} does not start: ${String(thrown)}`));
  });
}
