/** What a host remembers of plugins: names of first use and violations (design 5.5; hostile cases 64, 65). */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPluginLedger, type PluginLedger } from '@flowops/sandbox/ledger/plugin-ledger.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const UUID = '0f2f3c1e-9a64-4a35-8a62-51f7d2f4ab01';
const SLACK = { pluginId: UUID, name: 'acme.slack', publisher: undefined };
const SIGNED = { pluginId: UUID, name: 'acme.slack', publisher: 'acme' };
const WALL = { code: 'LIMIT_WALL', demoteAfter: 2, rule: 'rule 1' } as const;

let home: string;
let opened: PluginLedger[];
let lines: { level: string; message: string }[];
let nowMs: number;

const note = (level: string) => (message: string) => {
  lines.push({ level, message });
};
const log = { info: note('info'), warn: note('warn'), error: note('error') };

async function open(options: { maxPins?: number; maxCounted?: number } = {}): Promise<PluginLedger> {
  const ledger = await openPluginLedger({ home, log, now: () => nowMs++, ...options });
  opened.push(ledger);
  return ledger;
}

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'ledger-'));
  opened = [];
  lines = [];
  nowMs = Date.UTC(2026, 0, 1);
});
afterEach(async () => {
  for (const ledger of opened) await ledger.close();
  await rm(home, { recursive: true });
});

describe('the name of a pluginId', () => {
  test('is the one of its first use, in any letter case of the id, also after a restart', async () => {
    const ledger = await open();
    expect(ledger.recall(SLACK)).toEqual({ isFull: false });
    ledger.pin(SLACK);
    ledger.pin({ ...SLACK, name: 'acme.evil' });
    expect(ledger.recall({ ...SLACK, pluginId: UUID.toUpperCase() })).toEqual({ agreedName: 'acme.slack' });
    await ledger.close();
    expect((await open()).recall(SLACK)).toEqual({ agreedName: 'acme.slack' });
  });

  test('is another one after an operator agreed to it, and a host that runs sees that', async () => {
    const host = await open();
    host.pin(SLACK);
    await host.settled();
    const command = await open();
    command.agree(UUID.toUpperCase(), 'acme.chat');
    await command.settled();
    await host.refresh();
    expect(host.recall(SLACK)).toEqual({ agreedName: 'acme.chat' });
    expect(host.pins()).toMatchObject([{ pluginId: UUID, name: 'acme.chat', by: 'operator' }]);
  });

  test('is not forgotten for a flood of others: beyond the bound nothing new is remembered', async () => {
    const ledger = await open({ maxPins: 2 });
    for (const pluginId of ['a', 'b', 'c']) ledger.pin({ pluginId, name: `name.${pluginId}`, publisher: undefined });
    expect(ledger.pins().map(({ pluginId }) => pluginId)).toEqual(['a', 'b']);
    expect(ledger.recall({ pluginId: 'c', name: 'x', publisher: undefined })).toEqual({ isFull: true });
    expect(ledger.recall({ pluginId: 'a', name: 'x', publisher: undefined })).toEqual({ agreedName: 'name.a' });
  });
});

describe('violations', () => {
  test('demote a plugin when there are as many as its rule says, once and visibly', async () => {
    const ledger = await open();
    ledger.violated(SLACK, WALL);
    expect(ledger.recall(SLACK).demotion).toBeUndefined();
    ledger.violated(SLACK, { ...WALL, code: 'SANDBOX_CRASHED' });
    expect(ledger.recall(SLACK).demotion).toEqual({
      violations: 2,
      code: 'SANDBOX_CRASHED',
      since: '2026-01-01T00:00:00.001Z',
    });
    ledger.violated(SLACK, WALL);
    expect(ledger.recall(SLACK).demotion).toMatchObject({ violations: 3, since: '2026-01-01T00:00:00.001Z' });
    expect(lines).toEqual([
      {
        level: 'warn',
        message:
          `acme.slack (unsigned, published as ${UUID}) is demoted to the container tier after 2 violations (the last: ` +
          'SANDBOX_CRASHED; rule 1), until an operator lifts it: flowops policy demotions --lift acme.slack',
      },
    ]);
  });

  test('outlive a restart, the ones that are not enough yet too', async () => {
    const first = await open();
    first.violated(SLACK, WALL);
    await first.close();
    const second = await open();
    second.violated(SLACK, WALL);
    await second.close();
    expect((await open()).recall(SLACK).demotion).toMatchObject({ violations: 2 });
  });

  test('are forgotten when an operator lifts them, and a host that runs sees that', async () => {
    const host = await open();
    host.violated(SLACK, { ...WALL, demoteAfter: 1 });
    await host.settled();
    const command = await open();
    const [count] = command.counts();
    if (count === undefined) expect.fail('the demotion was not written');
    command.lift(count);
    await command.settled();
    await host.refresh();
    expect(host.recall(SLACK).demotion).toBeUndefined();
    host.violated(SLACK, WALL);
    expect(host.counts()).toMatchObject([{ violations: 1, demotedAt: null }]);
  });

  test('of an unsigned plugin do not touch one that claims its name under another id, nor the signed one', async () => {
    const ledger = await open();
    ledger.violated({ ...SLACK, pluginId: 'mallory' }, { ...WALL, demoteAfter: 1 });
    expect(ledger.recall(SLACK).demotion).toBeUndefined();
    expect(ledger.recall(SIGNED).demotion).toBeUndefined();
  });

  test('of a signed plugin follow it to whatever id it comes under', async () => {
    const ledger = await open();
    ledger.violated(SIGNED, { ...WALL, demoteAfter: 1 });
    expect(ledger.recall({ ...SIGNED, pluginId: 'other' }).demotion).toBeDefined();
    expect(ledger.recall({ ...SIGNED, publisher: 'other' }).demotion).toBeUndefined();
  });

  test('are counted for a bounded number of plugins: the one longest without one goes, a demotion never', async () => {
    const ledger = await open({ maxCounted: 2 });
    const of = (pluginId: string) => ({ pluginId, name: 'n', publisher: undefined });
    ledger.violated(of('demoted'), { ...WALL, demoteAfter: 1 });
    ledger.violated(of('old'), WALL);
    ledger.violated(of('new'), WALL);
    expect(ledger.counts().map(({ pluginId }) => pluginId)).toEqual(['demoted', 'new']);
    ledger.violated(of('new'), WALL);
    for (const pluginId of ['c', 'd']) ledger.violated(of(pluginId), WALL);
    expect(ledger.counts().map(({ pluginId }) => pluginId)).toEqual(['demoted', 'new']);
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(1);
  });
});

describe('the files', () => {
  const pinFolder = () => join(home, 'sandbox', 'pins');

  test('are ours alone', async () => {
    const ledger = await open();
    ledger.pin(SLACK);
    await ledger.settled();
    const [name = ''] = await readdir(pinFolder());
    const modes = [pinFolder(), join(pinFolder(), name)].map(async (path) => (await stat(path)).mode & 0o777);
    expect(await Promise.all(modes)).toEqual([0o700, 0o600]);
  });

  test.each([
    ['half a file', '{"pluginId":"'],
    ['another shape', '{"pluginId":"x"}'],
    [
      'a file of another entry',
      JSON.stringify({ pluginId: 'x', name: 'y', since: '2026-01-01T00:00:00Z', by: 'operator' }),
    ],
    ['a huge file', 'x'.repeat(10_000)],
  ])('that are damaged cost their own entry and are set aside: %s', async (_title, text) => {
    const first = await open();
    first.pin(SLACK);
    first.pin({ ...SLACK, pluginId: 'other' });
    await first.close();
    const damaged = await fileHolding('other');
    await writeFile(damaged, text);
    const second = await open();
    expect(second.recall(SLACK)).toEqual({ agreedName: 'acme.slack' });
    expect(second.recall({ ...SLACK, pluginId: 'other' })).toEqual({ isFull: false });
    expect(lines).toEqual([{ level: 'error', message: expect.stringContaining(`set aside as ${damaged}.damaged`) }]);
    expect(await readFile(`${damaged}.damaged`, 'utf8')).toBe(text);
  });

  async function fileHolding(text: string): Promise<string> {
    for (const name of await readdir(pinFolder())) {
      const file = join(pinFolder(), name);
      if ((await readFile(file, 'utf8')).includes(`"${text}"`)) return file;
    }
    return expect.fail(`no file holds ${text}`);
  }

  test('cannot be written: the host goes on with what it remembers and says so once', async () => {
    await mkdir(join(home, 'sandbox'), { recursive: true });
    await writeFile(pinFolder(), 'a file where the folder should be');
    const ledger = await open();
    ledger.pin(SLACK);
    expect(ledger.recall(SLACK)).toEqual({ agreedName: 'acme.slack' });
    await ledger.settled();
    await ledger.refresh();
    expect(lines).toEqual([
      { level: 'error', message: expect.stringMatching(/agreed names of plugins cannot be kept in .*FLOWOPS_HOME/) },
    ]);
  });

  test('hold the newest of many changes, and none of what was removed', async () => {
    const ledger = await open();
    for (let i = 1; i <= 50; i++) ledger.violated(SLACK, { ...WALL, demoteAfter: 1000 });
    ledger.violated(SIGNED, WALL);
    const signed = ledger.counts().find(({ publisher }) => publisher === 'acme');
    if (signed !== undefined) ledger.lift(signed);
    await ledger.close();
    expect((await open()).counts()).toMatchObject([{ violations: 50 }]);
  });
});
