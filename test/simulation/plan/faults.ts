/** What can go wrong in a simulation, and when it does under a seed. Every fault ends: what was killed starts again. */
import type { Chance } from '../world/chance.ts';
import type { CrashPoint } from '../world/process.ts';

export type Fault = { readonly atMs: number } & (
  | { readonly kind: 'kill-engine'; readonly engine: number; readonly downMs: number }
  /** At one of its next calls to the outside. */
  | {
      readonly kind: 'crash-engine';
      readonly engine: number;
      readonly calls: number;
      readonly point: CrashPoint;
      /** It dies then at the latest. */
      readonly withinMs: number;
      readonly downMs: number;
    }
  | { readonly kind: 'stop-engine'; readonly engine: number; readonly forMs: number }
  | { readonly kind: 'end-engine'; readonly engine: number; readonly downMs: number }
  | {
      readonly kind: 'cut-engine';
      readonly engine: number;
      readonly from: 'store' | 'kafka' | 'plugins';
      readonly forMs: number;
    }
  | { readonly kind: 'cut-host'; readonly engine: number; readonly host: number; readonly forMs: number }
  | { readonly kind: 'kill-host'; readonly engine: number; readonly host: number }
  | { readonly kind: 'store-away'; readonly forMs: number; readonly lostMs: number; readonly scope: 'all' | 'one-node' }
  | { readonly kind: 'broker-away'; readonly forMs: number }
  | { readonly kind: 'add-partition' }
);

export type FaultKind = Fault['kind'];

const FAULTS_WITHIN_MS = 12_000;
/** A call that an engine does not make within this time: it dies without. */
const CRASH_PATIENCE_MS = 3_000;
/** Beyond a session and a lease now and then. */
const LONG_MS = 30_000;

const WEIGHTS: readonly (readonly [FaultKind, number])[] = [
  ['kill-engine', 3],
  ['crash-engine', 6],
  ['stop-engine', 4],
  ['end-engine', 2],
  ['cut-engine', 3],
  ['cut-host', 3],
  ['kill-host', 3],
  ['store-away', 3],
  ['broker-away', 1],
  ['add-partition', 1],
];

export function planFaults(
  chance: Chance,
  world: { engines: number; sharedHosts: number; mayLose: boolean },
): readonly Fault[] {
  const count = chance.pick([0, 1, 1, 2, 2, 3, 4, 6]);
  const faults = Array.from({ length: count }, () => planFault(chance, world));
  return faults.sort((a, b) => a.atMs - b.atMs);
}

function planFault(chance: Chance, { engines, sharedHosts, mayLose }: Parameters<typeof planFaults>[1]): Fault {
  const atMs = chance.ms(0, FAULTS_WITHIN_MS);
  const engine = chance.whole(0, engines - 1);
  const host = chance.whole(0, Math.max(0, sharedHosts - 1));
  const forMs = chance.happens(0.25) ? chance.ms(4_000, LONG_MS) : chance.ms(1, 3_000);
  const downMs = chance.happens(0.3) ? chance.ms(3_000, 20_000) : chance.ms(50, 3_000);
  const calls = chance.whole(1, 60);
  const point = chance.pick<CrashPoint>(['before', 'sent', 'answered']);
  const from = chance.pick(['store', 'kafka', 'kafka', 'plugins'] as const);
  const lostMs = mayLose && chance.happens(0.6) ? chance.ms(1, 1_900) : 0;
  const kind = pickKind(chance);
  switch (kind) {
    case 'kill-engine':
    case 'end-engine':
      return { atMs, kind, engine, downMs };
    case 'crash-engine':
      return { atMs, kind, engine, calls, point, withinMs: CRASH_PATIENCE_MS, downMs };
    case 'stop-engine':
      return { atMs, kind, engine, forMs };
    case 'cut-engine':
      return { atMs, kind, engine, from, forMs };
    case 'cut-host':
      return { atMs, kind, engine, host, forMs };
    case 'kill-host':
      return { atMs, kind, engine, host };
    case 'store-away':
      return { atMs, kind, forMs: Math.min(forMs, 8_000), lostMs, scope: 'all' };
    case 'broker-away':
      return { atMs, kind, forMs: Math.min(forMs, 15_000) };
    case 'add-partition':
      return { atMs, kind };
  }
}

function pickKind(chance: Chance): FaultKind {
  let left = chance.next() * WEIGHTS.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [kind, weight] of WEIGHTS) {
    left -= weight;
    if (left < 0) return kind;
  }
  return 'kill-engine';
}
