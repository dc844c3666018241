import { describe, expect, it } from 'vitest';
import { ServerIdentities } from '../../../../engine/store/redis-identity.ts';
import type { RedisServers } from '../../../../engine/store/redis-servers.ts';

/** Only its state matters here. */
class Servers implements Pick<RedisServers, 'state' | 'onState'> {
  state: 'up' | 'down' = 'up';
  readonly #listeners = new Set<(state: 'up' | 'down') => void>();

  onState(listener: (state: 'up' | 'down') => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  become(state: 'up' | 'down'): void {
    this.state = state;
    for (const listener of this.#listeners) listener(state);
  }
}

function watched(first: string | undefined) {
  const identities = new ServerIdentities();
  const servers = new Servers();
  identities.seen('a', first);
  identities.watch(servers);
  const counted = { doubts: 0 };
  identities.onDoubt(() => {
    counted.doubts += 1;
  });
  return { identities, servers, counted };
}

describe('whether a server is still the one that acknowledged our writes', () => {
  it('is certain when a connection comes back to the same process', () => {
    const { identities, servers, counted } = watched('one');
    servers.become('down');
    identities.seen('a', 'one');
    servers.become('up');
    expect(counted.doubts).toBe(0);
  });

  it('is in doubt after a restart, told once and not before it can be looked at', () => {
    const { identities, servers, counted } = watched('one');
    servers.become('down');
    identities.seen('a', 'two');
    expect(counted.doubts).toBe(0);
    servers.become('up');
    servers.become('down');
    identities.seen('a', 'two');
    servers.become('up');
    expect(counted.doubts).toBe(1);
  });

  it('is in doubt when another server comes beside those that are up', () => {
    const { identities, counted } = watched('one');
    identities.seen('b', 'other');
    expect(counted.doubts).toBe(1);
  });

  it('is in doubt when one comes back that had handed its slots to others', () => {
    const { identities, counted } = watched('one');
    identities.forget('a');
    identities.seen('a', 'one');
    expect(counted.doubts).toBe(1);
  });

  it('is in doubt at every connect where the server does not tell', () => {
    const { identities, counted } = watched(undefined);
    identities.seen('a', undefined);
    identities.seen('a', undefined);
    expect(counted.doubts).toBe(2);
  });
});
