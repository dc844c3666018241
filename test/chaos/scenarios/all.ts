/**
 * What may happen to engines and to what they stand on. Each scenario is told when it acts by the share of runs that have
 * ended, so that its faults meet the load on a slow machine too; which engine it meets, and for how long, is drawn from
 * the seed. Where a fault can excuse something, the scenario says so, and nothing else is excused.
 */
import type { Scenario } from '../scenario.ts';
import {
  freezeEngine,
  freezeFenced,
  freezeMachine,
  killEngine,
  killHost,
  killUntold,
  killWaiting,
  killWorkers,
  powerCut,
} from './engines.ts';
import { lateWrites } from './late-writes.ts';
import { cutKafka, cutRedis } from './networks.ts';
import { freezeRedis, killBroker, killRedis, redisGoesBack } from './services.ts';
import { cutHost, killBesideHosts, killSharedHost, rollBesideHosts } from './shared-hosts.ts';
import { storm } from './storm.ts';
import { formats, partitionsAdded, rollingRestart } from './upgrades.ts';

export const SCENARIOS: readonly Scenario[] = [
  killEngine,
  killUntold,
  killWaiting,
  powerCut,
  killHost,
  killWorkers,
  freezeEngine,
  freezeFenced,
  freezeMachine,
  lateWrites,
  killBroker,
  killRedis,
  redisGoesBack,
  freezeRedis,
  cutRedis,
  cutKafka,
  rollingRestart,
  formats,
  partitionsAdded,
  killBesideHosts,
  rollBesideHosts,
  killSharedHost,
  cutHost,
  storm,
];
