/** Which command partitions each of several engines holds, as their logs tell it. */
import { z } from 'zod';
import type { FlowopsProcess } from './service-process.ts';

const TAKEN_OVER = 'command partitions taken over';
const GIVEN_UP = 'command partitions given up';
const lineSchema = z.object({ msg: z.string(), partitions: z.array(z.number()) });

/** Ascending. */
export function partitionsHeldBy(log: readonly string[]): readonly number[] {
  const held = new Set<number>();
  for (const text of log) {
    if (!text.includes(TAKEN_OVER) && !text.includes(GIVEN_UP)) continue;
    const line = lineSchema.safeParse(JSON.parse(text));
    if (!line.success) continue;
    for (const partition of line.data.partitions) {
      if (line.data.msg === TAKEN_OVER) held.add(partition);
      else if (line.data.msg === GIVEN_UP) held.delete(partition);
    }
  }
  return [...held].sort((one, other) => one - other);
}

/** Waits until all of `count` partitions are held, each by one engine, and every engine holds some. */
export async function untilShared(
  engines: readonly FlowopsProcess[],
  count: number,
): Promise<readonly (readonly number[])[]> {
  for (;;) {
    const held = engines.map(({ stderr }) => partitionsHeldBy(stderr.items));
    const all = held.flat();
    const isShared = held.every((own) => own.length > 0) && all.length === count && new Set(all).size === count;
    if (isShared) return held;
    // Another round of the group protocol is under way: one of them tells it with its next lines.
    await Promise.race(
      engines.map(({ stderr }) => {
        const known = stderr.items.length;
        return stderr.until('the next round', (lines) => (lines.length > known ? true : undefined));
      }),
    );
  }
}
