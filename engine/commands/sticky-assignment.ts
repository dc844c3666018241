/**
 * Who gets which partition when the group changes: as few moves as an even spread allows, because every move is a new
 * epoch and a claim of all runs of the partition. Deterministic: every leader comes to the same answer.
 */
export interface Member {
  readonly memberId: string;
  /** What it says it held before; may overlap with another's claim, or name partitions that are gone. */
  readonly owned: readonly number[];
  /** It is about to go: it keeps what it holds while it hands it over, and gets nothing new. */
  readonly isLeaving?: boolean;
}

/**
 * memberId → its partitions, ascending. Numbers per member differ by at most one, but for members that are leaving; when
 * all are, none counts as such.
 */
export function assignPartitions(
  partitions: readonly number[],
  members: readonly Member[],
): ReadonlyMap<string, readonly number[]> {
  const staying = members.filter(({ isLeaving }) => isLeaving !== true);
  if (staying.length > 0 && staying.length < members.length) return assignBeside(partitions, members, staying);
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

/** Those who leave keep what they hold; the rest is spread over those who stay. */
function assignBeside(
  partitions: readonly number[],
  members: readonly Member[],
  staying: readonly Member[],
): ReadonlyMap<string, readonly number[]> {
  const free = new Set(partitions);
  const kept = new Map<string, readonly number[]>();
  for (const { memberId, owned, isLeaving } of members) {
    if (isLeaving !== true) continue;
    // What a staying member says it holds too is the staying one's: the other's claim is old.
    const mine = [...new Set(owned)].filter(
      (one) => free.has(one) && !staying.some((other) => other.owned.includes(one)),
    );
    for (const partition of mine) free.delete(partition);
    kept.set(
      memberId,
      mine.sort((a, b) => a - b),
    );
  }
  return new Map([...kept, ...assignPartitions([...free], staying)]);
}
