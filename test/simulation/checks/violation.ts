/** What a simulation finds wrong: which guarantee does not hold, and what was seen. */
export type Guarantee = 'G1' | 'G2' | 'G3' | 'G4' | 'G5' | 'G9' | 'bug';

export interface Violation {
  readonly guarantee: Guarantee;
  readonly what: string;
}

/** Keeps the first; what follows from it only confuses. */
export class Violations {
  first: Violation | undefined;
  #tell: (violation: Violation) => void;

  constructor(tell: (violation: Violation) => void) {
    this.#tell = tell;
  }

  report(guarantee: Guarantee, what: string): void {
    if (this.first !== undefined) return;
    this.first = { guarantee, what };
    this.#tell(this.first);
  }
}
