import { describe, expect, it } from 'vitest';
import { planScenario } from './plan/scenario.ts';
import { simulate } from './simulate.ts';
import { crashScenario } from './sweep.ts';

/** A fixed budget: `npm run simulate` goes further. */
const SEEDS = 2_000;
const SLICES = 10;

describe('a simulation', () => {
  it('does the same again for the same seed, byte for byte', async () => {
    for (const seed of [3, 17, 241, 864]) {
      const lines: string[][] = [[], []];
      for (const told of lines) await simulate(seed, { print: (line) => told.push(line) });
      expect(lines[0]?.length).toBeGreaterThan(100);
      expect(lines[0]).toEqual(lines[1]);
    }
  });

  it('is another one for another seed', async () => {
    const [a, b] = [await simulate(1), await simulate(2)];
    expect(a.digest).not.toBe(b.digest);
  });

  it('gives the machine its own clock back', async () => {
    const before = Date.now();
    await simulate(1);
    expect(Math.abs(Date.now() - before)).toBeLessThan(60_000);
    await new Promise<void>((resolve) => setImmediate(resolve));
  });
});

describe('every guarantee holds', () => {
  const size = SEEDS / SLICES;
  const slices = Array.from({ length: SLICES }, (_, index) => [index * size + 1, (index + 1) * size] as const);

  it.each(slices)('under the faults of seeds %i to %i', async (first, last) => {
    for (let seed = first; seed <= last; seed++) {
      const { violation } = await simulate(seed);
      expect(violation, `npm run simulate -- --seed ${seed} --trace`).toBeUndefined();
    }
  });

  it.each([1, 2, 5])('when an engine dies at each of its calls in the world of seed %i', async (seed) => {
    const base = { ...planScenario(seed), faults: [] };
    const { calls, violation } = await simulate(seed, { scenario: base });
    expect(violation).toBeUndefined();
    expect(calls).toBeGreaterThan(50);
    for (let call = 1; call <= calls; call++) {
      for (const point of ['before', 'sent', 'answered'] as const) {
        const crashed = await simulate(seed, { scenario: crashScenario(base, call, point) });
        expect(crashed.violation, `seed ${seed} without its faults, call ${call}, ${point}`).toBeUndefined();
      }
    }
  });
});
