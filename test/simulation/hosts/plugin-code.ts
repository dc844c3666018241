/**
 * What the plugins of a simulation do when their code runs: they take a while and end, well or badly. The text they give
 * depends on their step and its input only, so that whoever gets it can be checked. Where and when code runs is told to
 * the ledger: that is the truth all guarantees are about.
 */
import type { Happening, World } from '../world/world.ts';

export type Kind =
  /** Ends well, soon. */
  | 'quick'
  /** Ends well, after seconds. */
  | 'slow'
  /** Ends badly by its own doing. */
  | 'bad'
  /** Does not end by itself: its host ends it at its wall limit. */
  | 'hanging'
  /** Takes its host down. */
  | 'killer';

export interface CodeIdentity {
  readonly run: string;
  readonly stepId: string;
  readonly attempt: number;
  readonly epoch: number;
  readonly token: string;
  /** Instance of the host. */
  readonly host: string;
  readonly kind: Kind;
  readonly input: string;
}

export type CodeEnd = 'completed' | 'failed' | 'stopped' | 'wall' | 'host-ended';

/** Hears of code as it begins and ends. */
export interface CodeWitness {
  codeBegins(code: CodeIdentity): void;
  codeEnds(code: CodeIdentity, end: CodeEnd): void;
  /** An engine asks a host to run it. */
  asked(run: string, stepId: string, token: string): void;
  /** An engine was told that the attempt's host has ended. */
  hostLost(run: string, token: string): void;
  /** A host ended the attempt by a fault of its own, or went with it, before any code ran. */
  refused(run: string, stepId: string): void;
}

export const WALL_MS = 20_000;
/** The proof that nothing runs any more takes this long at most. */
const PROOF_MS = 30;

export function outputOf(stepId: string, input: string): string {
  return `${stepId}(${input})`;
}

export class RunningCode {
  readonly identity: CodeIdentity;
  readonly #world: World;
  readonly #witness: CodeWitness;
  readonly #onEnd: (end: CodeEnd) => void;
  #next: Happening | undefined;
  #isOver = false;

  /** @param onEnd called once, when it is proven that nothing of it runs */
  constructor(world: World, identity: CodeIdentity, witness: CodeWitness, onEnd: (end: CodeEnd) => void) {
    this.#world = world;
    this.identity = identity;
    this.#witness = witness;
    this.#onEnd = onEnd;
    witness.codeBegins(identity);
    const { chance } = world;
    const willTakeMs = { quick: chance.ms(1, 60), slow: chance.ms(500, 9_000), bad: chance.ms(1, 400) };
    switch (identity.kind) {
      case 'hanging':
        this.#at(WALL_MS, 'wall');
        break;
      case 'bad':
        this.#at(willTakeMs.bad, 'failed');
        break;
      case 'killer':
        // Its host goes first; this is for a host that it could not take down.
        this.#at(WALL_MS, 'wall');
        break;
      default:
        this.#at(willTakeMs[identity.kind], 'completed');
    }
  }

  /** Asked to stop: it does so by itself soon, or is killed after the grace. */
  stop(graceMs: number): void {
    const isStubborn = this.#world.chance.happens(0.3);
    this.#at(isStubborn ? graceMs : Math.min(graceMs, this.#world.chance.ms(0, 50)), 'stopped');
  }

  /** Nothing of it runs from this moment on; nobody is told the end. */
  vanish(): void {
    this.#end('host-ended');
  }

  #at(delayMs: number, end: CodeEnd): void {
    if (this.#isOver) return;
    this.#next?.cancel();
    this.#next = this.#world.at(delayMs, () => {
      this.#end(end);
      this.#world.at(this.#world.chance.ms(0, PROOF_MS), () => this.#onEnd(end));
    });
  }

  #end(end: CodeEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#next?.cancel();
    this.#witness.codeEnds(this.identity, end);
  }
}
