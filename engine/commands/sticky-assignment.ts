/**
 * Who gets which partition when the group changes: as few moves as an even spread allows, because every move is a new
 * epoch and a claim of all runs of the partition. Deterministic: every leader comes to the same answer.
 */
export interface Member {
  readonly memberId: string;
  /** What it says it held before; may overlap with another's claim, or name partitions that are gone. */
  readonly owned: readonly number[];
}

/** memberId → its partitions, ascending. Numbers per member differ by at most one. */
export function assignPartitions(
  partitions: readonly number[],
  members: readonly Member[],
): ReadonlyMap<string, readonly number[]> {
  const free = new Set([...partitions].sort((a, b) => a - b));
  // Who held most keeps the larger share, so that fewer partitions move.
  const ordered = [...members].sort((a, b) => b.owned.length - a.owned.length || (a.memberId < b.memberId ? -1 : 1));
  const shares = new Map<string, number[]>();
  const floor = Math.floor(partitions.length / Math.max(1, ordered.length));
  let larger = partitions.length - floor * ordered.length;

  for (const { memberId, owned } of ordered) {
    const mine: number[] = [];
    shares.set(memberId, mine);
    const held = [...new Set(owned)].filter((partition) => free.has(partition)).sort((a, b) => a - b);
    const quota = held.length > floor && larger > 0 ? floor + 1 : floor;
    if (quota > floor) larger--;
    for (const partition of held.slice(0, quota)) {
      mine.push(partition);
      free.delete(partition);
    }
  }
  const leftOver = [...free];
  for (const { memberId } of ordered) {
    const mine = shares.get(memberId) ?? [];
    while (mine.length < floor) mine.push(...leftOver.splice(0, 1));
  }
  for (const { memberId } of ordered) {
    const mine = shares.get(memberId) ?? [];
    if (mine.length === floor) mine.push(...leftOver.splice(0, 1));
    mine.sort((a, b) => a - b);
  }
  return shares;
}
