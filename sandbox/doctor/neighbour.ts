/** The step of another plugin that must succeed beside every attack. */
import { ends } from './case.ts';
import type { PlannedPlugin } from './test-policy.ts';

/** In the tier of the attack. */
export const NEIGHBOUR: PlannedPlugin = {
  name: 'doctor.neighbour',
  attempt: {
    ...ends('a neighbour', 'COMPLETED', "await new Promise((r) => setTimeout(r, 20)); return { o: 'fine' };"),
    outputs: { o: 'string' },
    limits: { wallMs: 30_000 },
  },
};

/** Always in an isolate: it costs milliseconds where a container costs a second. */
export const LIGHT_NEIGHBOUR: PlannedPlugin = {
  ...NEIGHBOUR,
  name: 'doctor.neighbour.light',
  place: { tier: 'isolate', runtime: 'isolated-vm' },
};
