/** docs/signing.md does what it says: its commands are run, in order, in an empty folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { scratchFolder } from '../services/scratch.ts';

const CLONE = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = readFileSync(path.join(CLONE, 'docs', 'signing.md'), 'utf8');
const PORT = '9091';

const started: ChildProcess[] = [];
afterEach(async () => {
  for (const child of started.splice(0)) {
    const exited = child.exitCode === null ? once(child, 'exit') : Promise.resolve();
    child.kill('SIGTERM');
    await exited;
  }
});

function commandsOf(page: string): string[] {
  return [...page.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block = '']) => block.trimEnd().split('\n'));
}

/** A shell in which `npx flowops` is this clone's. */
function shellIn(folder: string): (command: string) => ChildProcess {
  const bin = path.join(folder, '.bin');
  mkdirSync(bin);
  const program = path.join(CLONE, 'bin', 'flowops.mjs');
  writeFileSync(path.join(bin, 'npx'), `#!/bin/sh\nshift\nexec '${process.execPath}' '${program}' "$@"\n`, {
    mode: 0o755,
  });
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, FLOWOPS_HOME: path.join(folder, '.flowops') };
  return (command) => {
    const child = spawn('/bin/sh', ['-ec', command], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
    started.push(child);
    return child;
  };
}

async function ended(child: ChildProcess): Promise<string> {
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (text += chunk));
  const [code] = await once(child, 'close');
  return `exit ${code}\n${text}`;
}

test.runIf(process.platform !== 'win32')(
  'every command of the page on signing works, and the receipt names the publisher',
  async () => {
    const folder = scratchFolder();
    const shell = shellIn(folder);
    const commands = commandsOf(PAGE);
    expect(commands.length).toBeGreaterThan(9);
    let port = PORT;
    for (const command of commands) {
      const own = command.replaceAll(PORT, port);
      if (!command.endsWith('&')) {
        expect(await ended(shell(own)), command).toMatch(/^exit 0\n/);
        continue;
      }
      // A port that is free now: the page's may be in use here.
      const serving = shell(`exec ${own.replace(PORT, '0').replace(/ &$/, '')}`);
      if (serving.stdout === null) throw new Error('no output');
      const [line] = await once(createInterface(serving.stdout), 'line');
      port = /:(\d+),/.exec(String(line))?.[1] ?? port;
    }
    const { receipt } = z
      .object({ receipt: z.object({ publisher: z.string().nullable(), rule: z.string() }) })
      .parse(JSON.parse(readFileSync(path.join(folder, 'run.json'), 'utf8')));
    expect(receipt).toEqual({ publisher: 'acme', rule: 'rule 1 (policy.yaml:5)' });
    expect(readFileSync(path.join(folder, 'registry', 'acme.greet', '1.0.0.js.sig'), 'utf8')).toBe(
      readFileSync(path.join(folder, 'greet.js.sig'), 'utf8'),
    );
  },
);
