/**
 * Does what a page of the documentation says, as a reader would: types its commands into a shell in an empty folder,
 * writes its files, and compares what it shows with what was printed. docs-page.ts tells how a page says what.
 *
 * The reader has this checkout's `flowops` on PATH, an empty home, and whatever the page's test adds.
 */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { SETTING_NAMES } from '@flowops/proto/settings.ts';
import { freePort } from '../services/ports.ts';
import { scratchFolder } from '../services/scratch.ts';
import { bareEnvironment, ROOT } from './clone.ts';
import { isShown, PageError, type PageStep, readPage } from './docs-page.ts';
import { commandsOf, openTerminal, type Ran, type Terminal, type TerminalOptions } from './docs-shell.ts';
import { checkTypes } from './docs-types.ts';

export interface PageOptions {
  /** Ports that the page names: each is replaced by one that is free here. */
  readonly ports?: readonly number[];
  /** Text of the page, and what stands for it here. */
  readonly replace?: Readonly<Record<string, string>>;
  readonly env?: NodeJS.ProcessEnv;
  /** Paths of the clone that are in the reader's folder, with its packages. */
  readonly given?: readonly string[];
  /** False: the page itself says how to get the command. */
  readonly hasCommand?: boolean;
  /** Whoever types; by default the user of this process. */
  readonly user?: TerminalOptions['user'];
  /** The Node that the reader has; by default the one that runs this. */
  readonly node?: string;
  /** Whatever the reader finds running; ended by whoever started it. */
  readonly before?: (world: World) => Promise<Additions | undefined>;
  /** A closer look at what came of it, while the terminals are still open. */
  readonly after?: (world: World) => Promise<void> | void;
}

export interface World {
  /** Where the page begins. */
  readonly folder: string;
  readonly home: string;
}

export interface Additions {
  readonly env?: NodeJS.ProcessEnv;
  readonly replace?: Readonly<Record<string, string>>;
}

export interface PageRun {
  readonly commands: number;
  /** Modules whose types are right. */
  readonly checked: number;
  /** What was not run, and why. */
  readonly left: readonly string[];
}

/** @param page its path in the clone. Throws a PageError at the first thing that is not as the page says. */
export async function runPage(page: string, options: PageOptions, signal: AbortSignal): Promise<PageRun> {
  return runMarkdown(page, readFileSync(join(ROOT, page), 'utf8'), options, signal);
}

export async function runMarkdown(
  page: string,
  markdown: string,
  options: PageOptions,
  signal: AbortSignal,
): Promise<PageRun> {
  const scratch = scratchFolder();
  const world = makeWorld(scratch, options);
  const added = await options.before?.(world);
  const text = replaced(markdown, {
    ...options.replace,
    ...added?.replace,
    ...(await freePorts(options.ports ?? [])),
  });
  const { steps } = readPage(page, text);
  const env = { ...readersEnvironment(scratch, world, options), ...options.env, ...added?.env };
  const reader = new Reader({ cwd: world.folder, env, scratch, signal, ...(options.user && { user: options.user }) });
  try {
    for (const step of steps) await reader.do(step);
    await checkTypes(steps, signal);
    await options.after?.(world);
  } finally {
    await reader.close();
  }
  return {
    commands: reader.commands,
    checked: steps.filter(({ kind }) => kind === 'check').length,
    left: steps.flatMap((step) =>
      step.kind === 'left' && step.reason !== '' ? [`${step.page}:${step.line}: ${step.reason}`] : [],
    ),
  };
}

/** The main terminal is the one without a name. */
class Reader {
  commands = 0;
  readonly #options: TerminalOptions;
  readonly #terminals = new Map<string, Terminal>();
  #printed = '';

  constructor(options: TerminalOptions) {
    this.#options = options;
  }

  async do(step: PageStep): Promise<void> {
    switch (step.kind) {
      case 'commands':
        return this.#type(step);
      case 'output':
        return this.#compare(step);
      case 'file':
        return this.#write(step);
      case 'check':
      case 'left':
        return;
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#terminals.values()].map((terminal) => terminal.close()));
  }

  async #type(step: PageStep & { kind: 'commands' }): Promise<void> {
    const terminal = this.#terminal(step.terminal);
    await terminal.interrupt();
    this.#printed = '';
    const commands = commandsOf(step.text);
    for (const [index, command] of commands.entries()) {
      const isLast = index === commands.length - 1;
      const goesOn = isLast && step.terminal !== undefined;
      const ran = await this.#watched(step, command, () =>
        goesOn ? terminal.begin(command, (text) => text.includes('\n')) : terminal.type(command),
      );
      this.commands++;
      this.#printed += ran.text;
      const expected = isLast ? step.exit : 0;
      if (ran.code === undefined || ran.code === expected) continue;
      throw new PageError(step, `\`${command}\` ended with ${ran.code}, not ${expected}:\n${ran.text}`);
    }
  }

  async #compare(step: PageStep & { kind: 'output' }): Promise<void> {
    if (step.terminal === undefined) {
      if (isShown(step.text, this.#printed)) return;
      throw new PageError(step, `the page shows\n${step.text}\nand this was printed:\n${this.#printed}`);
    }
    const isThere = (text: string): boolean => isShown(step.text, text, { isOpen: true });
    const terminal = this.#terminal(step.terminal);
    const { text } = await this.#watched(step, `the output of ${step.terminal}`, () => terminal.printed(isThere));
    if (isThere(text)) return;
    throw new PageError(step, `the page shows\n${step.text}\nand this was printed:\n${text}`);
  }

  #write(step: PageStep & { kind: 'file' }): void {
    const path = join(this.#terminal(undefined).cwd, step.path);
    mkdirSync(dirname(path), { recursive: true });
    if (step.isAppended) appendFileSync(path, step.text);
    else writeFileSync(path, step.text);
    const { user } = this.#options;
    if (user !== undefined) chownSync(path, user.uid, user.gid);
  }

  /** Says where on the page it was when something went wrong, above all when it took too long. */
  async #watched(step: PageStep, what: string, work: () => Promise<Ran>): Promise<Ran> {
    try {
      return await work();
    } catch (thrown) {
      throw new PageError(step, `\`${what}\`: ${thrown instanceof Error ? thrown.message : thrown}`);
    }
  }

  #terminal(name: string | undefined): Terminal {
    const known = this.#terminals.get(name ?? '');
    if (known !== undefined) return known;
    const cwd = this.#terminals.get('')?.cwd ?? this.#options.cwd;
    const scratch = join(this.#options.scratch, `typed-${this.#terminals.size}`);
    const opened = openTerminal({ ...this.#options, cwd, scratch });
    this.#terminals.set(name ?? '', opened);
    return opened;
  }
}

function makeWorld(scratch: string, { given = [], user }: PageOptions): World {
  const world = { folder: join(scratch, 'page'), home: join(scratch, 'home') };
  for (const folder of Object.values(world)) {
    mkdirSync(folder);
    if (user !== undefined) chownSync(folder, user.uid, user.gid);
  }
  // Made for this user alone, as temporary folders are; what is in it stays its owner's.
  if (user !== undefined) chmodSync(scratch, 0o711);
  for (const path of given) cpSync(join(ROOT, path), join(world.folder, path), { recursive: true });
  if (given.length > 0) symlinkSync(join(ROOT, 'node_modules'), join(world.folder, 'node_modules'));
  return world;
}

function readersEnvironment(scratch: string, { home }: World, options: PageOptions): NodeJS.ProcessEnv {
  const bare = bareEnvironment(dirname(options.node ?? process.execPath));
  for (const name of [...SETTING_NAMES, 'DOCKER_HOST']) delete bare[name];
  const env: NodeJS.ProcessEnv = { ...bare, HOME: home, HTTP_PORT: '0', ...npmSettings(options) };
  if (options.hasCommand === false) return env;
  const bin = join(scratch, 'bin');
  mkdirSync(bin);
  const flowops = `exec '${process.execPath}' '${join(ROOT, 'bin', 'flowops.mjs')}' "$@"\n`;
  writeFileSync(join(bin, 'flowops'), `#!/bin/sh\n${flowops}`, { mode: 0o755 });
  // In a clone npx finds the clone's own program. Any other goes to npm's own npx.
  const npx = `PATH="\${PATH#'${bin}'${delimiter}}" exec npx "$@"\n`;
  writeFileSync(join(bin, 'npx'), `#!/bin/sh\nif [ "$1" != flowops ]; then ${npx}fi\nshift\n${flowops}`, {
    mode: 0o755,
  });
  return { ...env, PATH: `${bin}${delimiter}${env.PATH}` };
}

/** Packages come from where they come from for whoever runs this, and through the same cache where it may be used. */
function npmSettings({ user }: PageOptions): NodeJS.ProcessEnv {
  const { HOME = '' } = process.env;
  const shared = { npm_config_cache: join(HOME, '.npm'), npm_config_userconfig: join(HOME, '.npmrc') };
  return {
    npm_config_fund: 'false',
    npm_config_audit: 'false',
    npm_config_update_notifier: 'false',
    ...(user === undefined ? shared : {}),
  };
}

async function freePorts(ports: readonly number[]): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const port of ports) found[`${port}`] = `${await freePort()}`;
  return found;
}

/** A number is replaced as a whole word: 9091 is not part of 19091. */
function replaced(text: string, values: Readonly<Record<string, string>>): string {
  return Object.entries(values).reduce((now, [from, to]) => {
    if (!now.includes(from)) throw new Error(`the page has no ${from} to be replaced`);
    return /^\d+$/.test(from) ? now.replace(new RegExp(`(?<!\\d)${from}(?!\\d)`, 'g'), to) : now.replaceAll(from, to);
  }, text);
}
