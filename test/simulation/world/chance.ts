/**
 * All chance of a simulation, from one seed: the same seed gives the same numbers in the same order. A part that draws
 * often takes a stream of its own (`stream`), so that a change in one part leaves the others' numbers as they were.
 */
export class Chance {
  readonly #seed: number;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    this.#a = scramble(this.#seed);
    this.#b = scramble(this.#a);
    this.#c = scramble(this.#b);
    for (let i = 0; i < 12; i++) this.next();
  }

  /** Another stream of the same seed. */
  stream(name: string): Chance {
    let hash = this.#seed ^ 0x811c9dc5;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    return new Chance(hash >>> 0);
  }

  /** In [0, 1). sfc32, by Chris Doty-Humphrey (PractRand). */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return (sum >>> 0) / 4_294_967_296;
  }

  happens(probability: number): boolean {
    return this.next() < probability;
  }

  /** A whole number from `least` to `most`, both included. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  /** Milliseconds, to the microsecond. */
  ms(least: number, most: number): number {
    return Math.round((least + this.next() * (most - least)) * 1000) / 1000;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.next() * items.length)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }

  /** Hexadecimal digits. */
  hex(digits: number): string {
    let text = '';
    while (text.length < digits)
      text += Math.floor(this.next() * 0x10000000)
        .toString(16)
        .padStart(7, '0');
    return text.slice(0, digits);
  }
}

function scramble(value: number): number {
  let mixed = (value + 0x9e3779b9) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return mixed ^ (mixed >>> 15);
}
