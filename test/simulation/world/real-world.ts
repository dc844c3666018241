/**
 * Keeps the machine's own clock, timers and chance out of a simulation: what asks for the time is given the world's,
 * what draws a number gets the seed's, and what would wait for the machine fails loudly.
 */
import type { Chance } from './chance.ts';
import { EPOCH_MS, type World } from './world.ts';

/** @returns puts everything back */
export function leaveRealWorld(world: World, chance: Chance): () => void {
  const undo: (() => void)[] = [];
  const replace = <Owner extends object, Name extends keyof Owner>(owner: Owner, name: Name, by: Owner[Name]) => {
    const own = Object.getOwnPropertyDescriptor(owner, name);
    Object.defineProperty(owner, name, { value: by, configurable: true, writable: true });
    undo.push(() => {
      if (own === undefined) Reflect.deleteProperty(owner, name);
      else Object.defineProperty(owner, name, own);
    });
  };
  const refuse = (name: string) => () => {
    throw new Error(`${name} was called inside a simulation: it would make two runs of one seed differ`);
  };
  replace(Math, 'random', () => chance.next());
  replace(Date, 'now', () => Math.floor(EPOCH_MS + world.nowMs));
  replace(performance, 'now', () => world.nowMs);
  for (const name of ['setTimeout', 'setInterval', 'setImmediate'] as const) {
    Object.defineProperty(globalThis, name, { ...descriptorOf(name), value: refuse(name) });
    const before = originals[name];
    undo.push(() => Object.defineProperty(globalThis, name, before));
  }
  return () => {
    for (const step of undo.reverse()) step();
  };
}

function descriptorOf(name: 'setTimeout' | 'setInterval' | 'setImmediate'): PropertyDescriptor {
  return Object.getOwnPropertyDescriptor(globalThis, name) ?? { configurable: true, writable: true };
}

const originals = {
  setTimeout: descriptorOf('setTimeout'),
  setInterval: descriptorOf('setInterval'),
  setImmediate: descriptorOf('setImmediate'),
};
