/**
 * One connection between an engine's process and a sandbox host's, frames in order both ways. The network under it can be
 * cut: then nothing passes, and what was sent passes when it is mended, unless an end has given the connection up by then.
 */
import type { SimProcess } from '../world/process.ts';
import type { World } from '../world/world.ts';

/** A network between two machines. */
export class Path {
  readonly #links = new Set<Link>();
  readonly name: string;
  #isCut = false;

  constructor(name: string) {
    this.name = name;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  cut(): void {
    this.#isCut = true;
  }

  mend(): void {
    this.#isCut = false;
    for (const link of [...this.#links]) link.flush();
  }

  carry(link: Link): () => void {
    this.#links.add(link);
    return () => this.#links.delete(link);
  }
}

interface End {
  readonly process: SimProcess;
  onClosed: (why: string) => void;
  isClosed: boolean;
  /** When the last frame sent from here arrives. */
  arrivesMs: number;
  /** What the cut network holds. */
  readonly held: (() => void)[];
}

export class Link {
  readonly #world: World;
  readonly #path: Path;
  readonly #delayMs: () => number;
  readonly #ends: readonly [End, End];
  readonly #leavePath: () => void;

  /** @param processes of the engine and of the host; the end of one closes the link */
  constructor(path: Path, processes: readonly [SimProcess, SimProcess], delayMs: () => number) {
    this.#world = processes[0].world;
    this.#path = path;
    this.#delayMs = delayMs;
    this.#ends = [endOf(processes[0]), endOf(processes[1])];
    this.#leavePath = path.carry(this);
    processes.forEach((process, side) => {
      process.onDeath(() => this.close(side as 0 | 1, `${process.name} is gone`));
    });
  }

  isClosed(side: 0 | 1): boolean {
    return this.#ends[side].isClosed;
  }

  /** Called once, when this end learns that the connection is over; not when it closed it itself. */
  onClosed(side: 0 | 1, act: (why: string) => void): void {
    this.#ends[side].onClosed = act;
  }

  /** Sends a frame to the other end. */
  send(from: 0 | 1, deliver: () => void): void {
    const here = this.#ends[from];
    const there = this.#ends[from === 0 ? 1 : 0];
    if (here.isClosed) return;
    const left = here.process.leave();
    if (left === 'no') return;
    if (left === 'once') here.process.kill();
    this.#post(here, () => {
      if (!there.isClosed) there.process.enter(() => !there.isClosed && deliver());
    });
  }

  /** This end gives the connection up; the other learns it when the network tells it. */
  close(side: 0 | 1, why: string): void {
    const here = this.#ends[side];
    const there = this.#ends[side === 0 ? 1 : 0];
    if (here.isClosed) return;
    here.isClosed = true;
    if (there.isClosed) {
      this.#leavePath();
      return;
    }
    this.#post(here, () => {
      if (there.isClosed) return;
      there.process.enter(() => {
        if (there.isClosed) return;
        there.isClosed = true;
        this.#leavePath();
        there.onClosed(why);
      });
    });
  }

  /** The network is whole again. */
  flush(): void {
    for (const end of this.#ends) for (const frame of end.held.splice(0)) this.#post(end, frame);
  }

  #post(from: End, frame: () => void): void {
    if (this.#path.isCut) {
      from.held.push(frame);
      return;
    }
    from.arrivesMs = Math.max(from.arrivesMs, this.#world.nowMs + this.#delayMs());
    this.#world.at(from.arrivesMs - this.#world.nowMs, () => {
      if (this.#path.isCut) from.held.push(frame);
      else frame();
    });
  }
}

function endOf(process: SimProcess): End {
  return { process, onClosed: () => undefined, isClosed: false, arrivesMs: 0, held: [] };
}
