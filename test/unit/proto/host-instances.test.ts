import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  endedInstances,
  type HeldInstance,
  holdInstance,
  instanceState,
  newInstanceName,
} from '../../../proto/host-instances.ts';
import { removeFolder, scratchFolder } from '../../services/scratch.ts';

let home: string;
const held: HeldInstance[] = [];
beforeEach(() => {
  home = scratchFolder();
});
afterEach(() => {
  for (const one of held.splice(0)) one.release();
  removeFolder(home);
});

function hold(instance: string): HeldInstance {
  const taken = holdInstance(home, instance);
  held.push(taken);
  return taken;
}

describe('a host that holds its name', () => {
  it('is seen as running until it lets go, and as ended ever after', () => {
    const instance = newInstanceName();
    const own = hold(instance);
    expect(instanceState(home, instance)).toBe('running');
    expect(() => holdInstance(home, instance)).toThrow('locked');
    own.release();
    own.release();
    expect([instanceState(home, instance), instanceState(home, instance)]).toEqual(['ended', 'ended']);
  });

  it('is unknown in another home, and looking for it leaves nothing behind', () => {
    const instance = newInstanceName();
    hold(instance);
    const other = join(home, 'other');
    expect(instanceState(other, instance)).toBe('unknown');
    expect(existsSync(other)).toBe(false);
  });

  it.each(['', '../x', 'host-1', 'host-../../etc/passwd', `${newInstanceName()}/..`])('is never named %j', (name) => {
    expect(instanceState(home, name)).toBe('unknown');
    expect(() => holdInstance(home, name)).toThrow('no name of a host');
  });
});

describe('the hosts of a home that have ended', () => {
  it('are told newest first, without those that run and without other files', () => {
    const names = [1, 2, 3, 4].map((hour) => newInstanceName(Date.UTC(2026, 0, 1, hour)));
    const [first = '', second = '', third = '', fourth = ''] = names;
    for (const name of names) {
      const one = hold(name);
      if (name !== third) one.release();
    }
    writeFileSync(join(home, 'hosts', 'notes.txt'), 'x');
    expect(endedInstances(home, 10)).toEqual([fourth, second, first]);
    expect(endedInstances(home, 1)).toEqual([fourth]);
  });

  it('are none where no host ever was', () => {
    expect(endedInstances(join(home, 'nothing'), 10)).toEqual([]);
  });

  it('are forgotten when they are many, the oldest first', () => {
    mkdirSync(join(home, 'hosts'));
    for (let index = 0; index < 1_003; index++) {
      writeFileSync(join(home, 'hosts', newInstanceName(Date.UTC(2026, 0, 1) + index)), '');
    }
    const [oldest = ''] = readdirSync(join(home, 'hosts')).sort();
    endedInstances(home, 1);
    const left = readdirSync(join(home, 'hosts'));
    expect(left).toHaveLength(1_000);
    expect(left).not.toContain(oldest);
  });
});
