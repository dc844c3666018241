/** The step of another plugin that must succeed beside every attack. */
import { ends } from './case.ts';
import type { PlannedPlugin } from './test-policy.ts';

export const NEIGHBOUR: PlannedPlugin = {
  name: 'doctor.neighbour',
  attempt: {
    ...ends('a neighbour', 'COMPLETED', "await new Promise((r) => setTimeout(r, 20)); return { o: 'fine' };"),
    outputs: { o: 'string' },
    limits: { wallMs: 30_000 },
  },
};
