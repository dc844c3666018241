/** What happens to engines, sandbox hosts and the network between them where hosts are shared. */
import type { Scenario } from '../scenario.ts';
import { breakNetwork, eachEngine, restartInOrder, startAgain } from './acts.ts';

/** Longer than a group takes to notice on a busy machine; and one that a held network outlasts. */
const LONG_LEASE_MS = '60000';
const SHORT_LEASE_MS = '6000';

export const killBesideHosts: Scenario = {
  name: 'kill-beside-hosts',
  about:
    'kill -9 of engines that share two sandbox hosts: what runs there is taken over, and no step needs to run twice',
  hosts: 2,
  allowance: { reruns: false },
  env: { SANDBOX_LEASE_MS: LONG_LEASE_MS },
  faults: (arena) =>
    eachEngine(arena, [0.15, 0.4, 0.65], async (engine) => {
      await arena.fault(`kill -9 ${engine.name}`, () => engine.kill9());
      await startAgain(arena, engine);
    }),
};

export const rollBesideHosts: Scenario = {
  name: 'roll-beside-hosts',
  about:
    'SIGTERM for engines that share two sandbox hosts, one after the other: what runs there goes on, and runs once',
  hosts: 2,
  allowance: { reruns: false },
  env: { SANDBOX_LEASE_MS: LONG_LEASE_MS },
  faults: (arena) => eachEngine(arena, [0.15, 0.4, 0.65], (engine) => restartInOrder(arena, engine)),
};

export const killSharedHost: Scenario = {
  name: 'kill-shared-host',
  about: 'kill -9 of each of two sandbox hosts that three engines share, then SIGTERM for each',
  hosts: 2,
  faults: async (arena) => {
    for (const [index, host] of [...arena.nodes.hosts, ...arena.nodes.hosts].entries()) {
      await arena.reached(0.15 + 0.15 * index);
      if (index < arena.nodes.hosts.length) await arena.fault(`kill -9 ${host.name}`, () => host.powerCut());
      else await arena.fault(`SIGTERM ${host.name}`, () => host.terminate());
      await arena.wait(arena.chance.between(0, 3000));
      await host.start();
    }
  },
};

export const cutHost: Scenario = {
  name: 'cut-host',
  about:
    'the network between an engine and one of the hosts it shares carries nothing, then breaks, beyond the lease too',
  hosts: 2,
  isRelayed: true,
  env: { SANDBOX_LEASE_MS: SHORT_LEASE_MS },
  faults: (arena) =>
    eachEngine(arena, [0.15, 0.4, 0.65], async (engine) => {
      const relay = arena.chance.pick(arena.nodes.hostRelays[arena.nodes.engines.indexOf(engine)] ?? []);
      await breakNetwork(arena, engine, 'a sandbox host', relay);
    }),
};
