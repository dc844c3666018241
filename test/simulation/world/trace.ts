/**
 * What happened in a simulation, line by line. Every line goes into a digest, which is how two runs of one seed are
 * compared; the lines themselves are kept only when somebody wants to read them.
 */
import { createHash } from 'node:crypto';

export class Trace {
  readonly #digest = createHash('sha256');
  readonly #print: ((line: string) => void) | undefined;
  lineCount = 0;

  /** @param print takes each line as it comes */
  constructor(print?: (line: string) => void) {
    this.#print = print;
  }

  add(nowMs: number, who: string, what: string): void {
    const line = `${nowMs.toFixed(3).padStart(11)} ${who.padEnd(10)} ${what}`;
    this.lineCount++;
    this.#digest.update(line);
    this.#print?.(line);
  }

  /** Ends the trace. */
  digest(): string {
    return this.#digest.digest('hex');
  }
}
