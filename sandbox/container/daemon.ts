/**
 * The Docker daemon as the tier sees it over time: not tried, connected, lost, back. Connects when it is first asked
 * for and never before, so that a host without containers does not feel it; notices a loss by one open connection.
 *
 * Invariants:
 *   D1. `generation` grows with each loss: whoever began in a lower one may have been hit by it. A loss counts from when
 *       the first hears of it: the open connection, or who was told of a failed call and asked (`isUnbrokenSince`).
 *   D2. Nobody waits longer than WAIT_FOR_RETURN_MS for a daemon that was lost, nor longer than one call for one that
 *       was never there.
 *   D3. The image is resolved to its id, and again while it is in use, so that a rebuilt one counts soon; never pulled.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { IS_PACKED } from '@flowops/proto/own-module.ts';
import type { Logger } from 'pino';
import type { DaemonFacts, DockerEngine, ImageFacts } from './docker-engine.ts';

/** A daemon that is restarted is back within seconds; the engine tries again later anyway. */
const WAIT_FOR_RETURN_MS = 10_000;
const RECONNECT_MS = 500;
/** A person who rebuilt the image expects the next step to use it. */
const IMAGE_RECHECK_MS = 2_000;

/** An installed package has no sources to build an image from. */
const IN_A_CLONE = IS_PACKED ? ' in a clone of FlowOps of this version' : '';

export interface DockerWorld {
  readonly facts: DaemonFacts;
  readonly image: ImageFacts;
}

export type WorldAnswer =
  | { readonly ok: true; readonly world: DockerWorld }
  | { readonly ok: false; readonly problem: string };

type State =
  | { readonly phase: 'untried' }
  | { readonly phase: 'connected'; readonly facts: DaemonFacts }
  | { readonly phase: 'absent'; readonly problem: string; readonly wasThere: boolean };

export interface DaemonOptions {
  readonly engine: DockerEngine;
  /** Name or id. */
  readonly image: string;
  /** How a person makes and names one: `npm run image`, SANDBOX_IMAGE. */
  readonly imageAdvice: { readonly build: string; readonly setting: string };
  readonly log: Pick<Logger, 'info' | 'warn' | 'debug'>;
  /** Another daemon session: what is there now may not be what was there before. */
  readonly onConnected?: () => void;
  readonly waitForReturnMs?: number;
}

export class DockerDaemon {
  generation = 0;
  readonly #options: DaemonOptions;
  readonly #closing = new AbortController();
  /** Ends with the daemon session. */
  #session = new AbortController();
  #state: State = { phase: 'untried' };
  #connecting: Promise<void> | undefined;
  #waiters: (() => void)[] = [];
  #image: { readonly facts: ImageFacts; readonly atMs: number } | undefined;
  #resolving: Promise<string | undefined> | undefined;

  constructor(options: DaemonOptions) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#state.phase === 'connected';
  }

  /** What is known without asking; undefined = `ready` has to be awaited. A known image is asked for again beside it. */
  peek(): DockerWorld | undefined {
    if (this.#state.phase !== 'connected' || this.#image === undefined) return undefined;
    if (performance.now() - this.#image.atMs > IMAGE_RECHECK_MS) void this.#resolve();
    return { facts: this.#state.facts, image: this.#image.facts };
  }

  /** Connects where that was not done, waits for a lost daemon, resolves the image. Ends early with its signal. */
  async ready(signal: AbortSignal): Promise<WorldAnswer> {
    const known = this.peek();
    if (known !== undefined) return { ok: true, world: known };
    const facts = await this.facts(signal);
    if (!facts.ok) return facts;
    const problem = await this.#resolve();
    const image = this.#image?.facts;
    if (image !== undefined) return { ok: true, world: { facts: facts.facts, image } };
    return { ok: false, problem: problem ?? 'the image was removed' };
  }

  /** What the daemon is, without any image. */
  async facts(
    signal: AbortSignal,
  ): Promise<{ readonly ok: true; readonly facts: DaemonFacts } | { readonly ok: false; readonly problem: string }> {
    if (this.#state.phase !== 'connected') await this.#connect();
    if (this.#state.phase === 'absent' && this.#state.wasThere) await this.#returned(signal);
    if (this.#state.phase === 'connected') return { ok: true, facts: this.#state.facts };
    const problem = this.#state.phase === 'absent' ? this.#state.problem : 'it was closed';
    return { ok: false, problem: `Docker does not answer (${problem})` };
  }

  /** Whether the daemon answers right now and did all the time since that generation. One that does not is lost. */
  async isUnbrokenSince(generation: number): Promise<boolean> {
    if (this.generation !== generation) return false;
    const answer = await this.#options.engine.daemon(this.#closing.signal);
    if (this.generation !== generation) return false;
    if (!answer.ok) this.#lose(answer.failure.problem);
    return answer.ok;
  }

  /** The id that was resolved is no longer there. */
  forgetImage(): void {
    this.#image = undefined;
  }

  /** Idempotent. */
  close(): void {
    this.#closing.abort();
    this.#wake();
  }

  #connect(): Promise<void> {
    this.#connecting ??= this.#tryConnect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #tryConnect(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const wasThere = this.generation > 0;
    const answer = await this.#options.engine.daemon(this.#closing.signal);
    if (!answer.ok) {
      this.#state = { phase: 'absent', problem: answer.failure.problem, wasThere };
      return;
    }
    const { version, runtimes } = answer.value;
    this.#options.log.info({ version, runtimes }, wasThere ? 'Docker is back' : 'connected to Docker');
    this.#state = { phase: 'connected', facts: answer.value };
    this.#session = new AbortController();
    this.#wake();
    void this.#watch(this.#session.signal);
    this.#options.onConnected?.();
  }

  async #watch(session: AbortSignal): Promise<void> {
    const failure = await this.#options.engine.watch(AbortSignal.any([session, this.#closing.signal]));
    if (!session.aborted) this.#lose(failure.problem);
  }

  #lose(problem: string): void {
    if (!this.isConnected || this.#closing.signal.aborted) return;
    this.generation++; // D1
    this.#session.abort();
    this.#image = undefined;
    this.#state = { phase: 'absent', problem, wasThere: true };
    this.#options.log.warn({ problem }, 'Docker was lost; what needs a container waits for it');
    void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    while (!this.isConnected && !this.#closing.signal.aborted) {
      await sleep(RECONNECT_MS, undefined, { ref: false });
      await this.#connect();
    }
  }

  #returned(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, this.#options.waitForReturnMs ?? WAIT_FOR_RETURN_MS); // D2
      this.#waiters.push(done);
      if (signal.aborted || this.#closing.signal.aborted) done();
      else signal.addEventListener('abort', done, { once: true });
    });
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  /** Why there is none; undefined when there is. */
  #resolve(): Promise<string | undefined> {
    this.#resolving ??= this.#askImage().finally(() => {
      this.#resolving = undefined;
    });
    return this.#resolving;
  }

  async #askImage(): Promise<string | undefined> {
    const { engine, image, imageAdvice, log } = this.#options;
    const answer = await engine.image(image, this.#closing.signal);
    if (answer.ok) {
      const before = this.#image?.facts.id;
      if (before !== undefined && before !== answer.value.id) log.info({ image, id: answer.value.id }, 'another image');
      this.#image = { facts: answer.value, atMs: performance.now() };
      return undefined;
    }
    this.#image = undefined;
    if (answer.failure.kind !== 'not-found') return `Docker does not answer (${answer.failure.problem})`;
    return `the image ${image} is not there, and images are never pulled; build it with \`${imageAdvice.build}\`${IN_A_CLONE}, or name another one in ${imageAdvice.setting}`;
  }
}
