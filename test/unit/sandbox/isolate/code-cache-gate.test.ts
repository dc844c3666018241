import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CodeCacheGate } from '../../../../sandbox/isolate/code-cache-gate.ts';
import { CodeCaches, LEAST_CACHED_BYTES } from '../../../../sandbox/isolate/code-caches.ts';

const V8 = 'v8 1';
const MADE = Buffer.from('made');
const bundle = (digest: string, length = LEAST_CACHED_BYTES) => ({ digest, bytes: new Uint8Array(length) });
const keyOf = (digest: string, domain = 'd', v8 = V8) => ({ domain, digest, v8 });

function gateOf(caches: CodeCaches, v8: string | undefined = V8): CodeCacheGate {
  const gate = new CodeCacheGate(caches);
  gate.v8 = v8;
  return gate;
}

let caches: CodeCaches;
beforeEach(() => {
  vi.useFakeTimers();
  caches = new CodeCaches();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a worker without a step', () => {
  it('is asked for a code cache, and no step goes to it before it has answered', () => {
    const gate = gateOf(caches);
    const sent: string[] = [];
    expect(gate.offer('d', bundle('a'))).toEqual({ makeCodeCache: true });
    for (const what of ['invoke', 'another', 'cancel']) gate.pass(() => sent.push(what));
    expect(sent).toEqual([]);
    expect(gate.take({ digest: 'a', data: MADE })).toBe('taken');
    expect(sent).toEqual(['invoke', 'another', 'cancel']);
    expect(caches.get(keyOf('a'))).toEqual(Uint8Array.from(MADE));
  });

  it('that does not answer gets its steps all the same, and its late answer is dropped', () => {
    const gate = gateOf(caches);
    const sent: string[] = [];
    gate.offer('d', bundle('a'));
    gate.pass(() => sent.push('invoke'));
    vi.runAllTimers();
    expect(sent).toEqual(['invoke']);
    expect(gate.take({ digest: 'a', data: MADE })).toBe('late');
    expect(gate.take({ digest: 'a', data: MADE })).toBe('foreign');
    expect(caches.get(keyOf('a'))).toBeUndefined();
  });

  it('is not asked for what is small, for what is known, or when its V8 is not', () => {
    expect(gateOf(caches).offer('d', bundle('a', LEAST_CACHED_BYTES - 1))).toBeUndefined();
    expect(new CodeCacheGate(caches).offer('d', bundle('a'))).toBeUndefined();
    caches.put(keyOf('a'), MADE);
    expect(gateOf(caches).offer('d', bundle('a'))).toEqual({ codeCache: Uint8Array.from(MADE) });
  });

  it('is not asked again for what no cache can be made of', () => {
    caches.put(keyOf('a'), new Uint8Array(0));
    expect(gateOf(caches).offer('d', bundle('a'))).toBeUndefined();
  });
});

describe('a worker with a step', () => {
  it('is never asked, and whatever it sends is no cache', () => {
    const gate = gateOf(caches);
    gate.pass(() => {});
    expect(gate.offer('d', bundle('a'))).toBeUndefined();
    expect(gate.take({ digest: 'a', data: MADE })).toBe('foreign');
    expect(caches.get(keyOf('a'))).toBeUndefined();
  });

  it('takes no answer for another bundle, nor a second one, whatever comes in which order', () => {
    const action = fc.constantFrom('offer-a', 'offer-b', 'pass', 'take-a', 'take-b', 'wait');
    fc.assert(
      fc.property(fc.array(action, { maxLength: 12 }), (actions) => {
        const own = new CodeCaches();
        const gate = gateOf(own);
        let asked: string | undefined;
        let hasRun = false;
        for (const [at, what] of actions.entries()) {
          const [name, digest = ''] = what.split('-');
          if (name === 'offer') {
            const offer = gate.offer('d', bundle(digest));
            if (offer !== undefined && 'makeCodeCache' in offer) {
              expect([hasRun, asked]).toEqual([false, undefined]);
              asked = digest;
            }
          } else if (name === 'pass') {
            gate.pass(() => {
              hasRun = true;
            });
          } else if (name === 'wait') vi.runAllTimers();
          else {
            const mayTake = asked === digest && !hasRun && own.get(keyOf(digest)) === undefined;
            const taken = gate.take({ digest, data: Buffer.from(`${at}`) });
            if (taken === 'taken') expect(mayTake).toBe(true);
          }
        }
      }),
    );
  });
});

describe('the caches', () => {
  it('are kept apart by trust domain and V8', () => {
    caches.put(keyOf('a'), MADE);
    expect(caches.get(keyOf('a', 'other'))).toBeUndefined();
    expect(caches.get(keyOf('a', 'd', 'v8 2'))).toBeUndefined();
    expect(gateOf(caches).offer('other', bundle('a'))).toEqual({ makeCodeCache: true });
  });

  it('are bounded: the least recently used goes first, and one that is too large counts as none', () => {
    const mib = 1024 * 1024;
    for (let n = 0; n < 9; n++) caches.put(keyOf(`${n}`), new Uint8Array(7 * mib));
    caches.get(keyOf('0'));
    caches.put(keyOf('9'), new Uint8Array(7 * mib));
    expect(['0', '1', '9'].map((digest) => caches.get(keyOf(digest))?.length)).toEqual([7 * mib, undefined, 7 * mib]);
    caches.put(keyOf('huge'), new Uint8Array(9 * mib));
    expect(caches.get(keyOf('huge'))?.length).toBe(0);
  });
});
