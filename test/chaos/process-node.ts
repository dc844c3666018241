/**
 * One engine or sandbox host of a scenario as an operator runs it: a real process with a home of its own, started again
 * when it ends by itself, and all that can happen to it: killed, cut off from power, frozen alone or with everything below
 * it, told to end.
 */
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Exit, type FlowopsProcess, startFlowops } from '../support/service-process.ts';
import { descendantsOf, type ProcessRef } from '../support/service-process-tree.ts';
import type { Chance } from './chance.ts';

/** As a supervisor waits before it starts a service again. */
const RESTART_MS = 500;
/** Each of a minute: a busy machine takes its time, and one that cannot start tells why each time. */
const MAX_START_WAITS = 4;

type Settings = Readonly<Record<string, string>>;

export interface ProcessNodeOptions {
  readonly name: string;
  /** Of `flowops`. */
  readonly args: readonly string[];
  /** What it logs when it takes work. */
  readonly ready: string;
  /** Its working folder and home. */
  readonly folder: string;
  readonly env: Settings;
  /** It ended though nobody had asked for it, and is started again. */
  readonly onUnexpectedEnd: (text: string) => void;
}

export class ProcessNode {
  readonly name: string;
  readonly #options: ProcessNodeOptions;
  readonly #lives: FlowopsProcess[] = [];
  /** Lives that were ended on purpose. */
  readonly #taken = new Set<FlowopsProcess>();
  #frozen: readonly ProcessRef[] = [];
  #isClosed = false;

  constructor(options: ProcessNodeOptions) {
    this.name = options.name;
    this.#options = options;
    mkdirSync(options.folder, { recursive: true });
  }

  /** Starts it and waits until it takes work, also when it has to be started again for that. */
  async start(more: Settings = {}): Promise<void> {
    this.#launch(more);
    for (let tries = 1; ; tries++) {
      const life = this.#life();
      try {
        const { name, ready } = this.#options;
        await life.stderr.until(`${name} to be ready`, (lines) => lines.find((line) => line.includes(ready)));
        return;
      } catch (thrown) {
        if (tries === MAX_START_WAITS || this.#isClosed || this.#taken.has(life)) throw thrown;
        await sleep(2 * RESTART_MS);
      }
    }
  }

  /** SIGKILL for it alone: what it started learns it by itself. */
  async kill9(): Promise<void> {
    await this.#take().kill9();
  }

  /** SIGKILL for it and all below it at one moment. */
  async powerCut(): Promise<void> {
    await this.#take().powerCut();
  }

  /** SIGTERM, and its exit. */
  async terminate(): Promise<Exit> {
    const life = this.#take();
    life.signal('SIGTERM');
    return life.exited;
  }

  /** SIGSTOP for it alone: what it started goes on. */
  freeze(): void {
    this.#life().signal('SIGSTOP');
  }

  /** SIGSTOP for it and all below it: a machine that stands still. */
  freezeTree(): void {
    const { pid } = this.#life();
    this.#life().signal('SIGSTOP');
    this.#frozen = descendantsOf(pid);
    for (const ref of this.#frozen) send(ref, 'SIGSTOP');
  }

  thaw(): void {
    for (const ref of this.#frozen) send(ref, 'SIGCONT');
    this.#frozen = [];
    this.#life().signal('SIGCONT');
  }

  /** SIGKILL for the sandbox host that an engine has started. @returns false when it had none at this moment */
  killHost(): boolean {
    const [host] = descendantsOf(this.#life().pid);
    if (host === undefined) return false;
    send(host, 'SIGKILL');
    return true;
  }

  /** SIGKILL for one process in which plugins run. @returns false when there was none at this moment */
  killWorker(chance: Chance): boolean {
    const [host] = descendantsOf(this.#life().pid);
    const below = host === undefined ? [] : descendantsOf(host.pid);
    // Wrappers of the jail have a child each; the worker is the last of its line.
    const workers = below.filter(({ pid, command }) => command === 'node' && descendantsOf(pid).length === 0);
    if (workers.length === 0) return false;
    send(chance.pick(workers), 'SIGKILL');
    return true;
  }

  /** Every line that all its lives logged. */
  log(): readonly string[] {
    return this.#lives.flatMap(({ stderr }, index) => [`── life ${index + 1} ──`, ...stderr.items]);
  }

  /** Ends whatever is left of it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const life of this.#lives) await life.powerCut();
  }

  /** The life that is ended on purpose now. */
  #take(): FlowopsProcess {
    const life = this.#life();
    this.#taken.add(life);
    return life;
  }

  #life(): FlowopsProcess {
    const life = this.#lives.at(-1);
    if (life === undefined) throw new Error(`${this.name} was never started`);
    return life;
  }

  #launch(more: Settings): void {
    const { args, folder, env } = this.#options;
    const life = startFlowops(args, { cwd: folder, env: { ...env, FLOWOPS_HOME: `${folder}/home`, ...more } });
    this.#lives.push(life);
    void life.exited.then((exit) => this.#ended(life, exit, more));
  }

  #ended(life: FlowopsProcess, exit: Exit, more: Settings): void {
    if (this.#isClosed || this.#taken.has(life)) return;
    const last = life.stderr.items.findLast((line) => line.includes('"level":60') || !line.startsWith('{')) ?? '';
    this.#options.onUnexpectedEnd(`${this.name} ended by itself (${exit.signal ?? `exit code ${exit.code}`}) ${last}`);
    void sleep(RESTART_MS).then(() => {
      if (!this.#isClosed && life === this.#life()) this.#launch(more);
    });
  }
}

function send({ pid }: ProcessRef, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended already.
  }
}
