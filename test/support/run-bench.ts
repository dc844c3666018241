/** A RunService on an in-memory SQLite store, with a fake host and the events it tells: for tests of engine/runs. */
import { randomBytes } from 'node:crypto';
import { ByteBudget, MAX_HELD_RESULT_BYTES, MAX_KEPT_COMMIT_BYTES } from '@flowops/engine/base/byte-budget.ts';
import { pause } from '@flowops/engine/base/pause.ts';
import { ALWAYS_GOOD, type Standing } from '@flowops/engine/base/standing.ts';
import type { Timer, TimerQueue } from '@flowops/engine/base/timers.ts';
import type { Log } from '@flowops/engine/log.ts';
import { LocalPublisher } from '@flowops/engine/publishing/local-publisher.ts';
import { Admission, capacityOf } from '@flowops/engine/runs/admission.ts';
import { Quarantine } from '@flowops/engine/runs/quarantine.ts';
import { RunService } from '@flowops/engine/runs/run-service.ts';
import type { RunRef, RunStore } from '@flowops/engine/store/run-store.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { type Command, readCommand } from '@flowops/proto/commands.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { manifestSchema } from '@flowops/proto/manifest.ts';
import type { PluginSource, ResolveResult } from '@flowops/proto/plugin-source.ts';
import { type CommandOutcomeEvent, type StatusEvent, statusEventSchema } from '@flowops/proto/statuses.ts';
import { FakeHost, FakeSandboxes } from './fake-host.ts';
import type { HandClock } from './hand-clock.ts';

export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };

const echo = manifestSchema.parse({
  name: 'test.echo',
  version: '1.0.0',
  inputs: { text: { type: 'string', required: false }, n: { type: 'integer', required: false } },
  outputs: { text: { type: 'string' } },
});

/** Knows test.echo; `answer` may change what it says. */
export class FakePlugins implements PluginSource {
  answer: (pluginId: string) => ResolveResult | Promise<ResolveResult> = (pluginId) =>
    pluginId === 'test.echo'
      ? { ok: true, plugin: { pluginId, digest: `sha256:${'0'.repeat(64)}`, manifest: echo } }
      : { ok: false, code: 'PLUGIN_NOT_FOUND', message: `no plugin ${pluginId} is published` };

  async resolve(pluginId: string): Promise<ResolveResult> {
    return this.answer(pluginId);
  }

  async bundle() {
    return { ok: false as const, code: 'PLUGIN_NOT_FOUND' as const, message: 'the fake host asks for none' };
  }

  /** Text of the .sig file of every plugin. */
  signed: string | undefined;

  async signature(): Promise<string | undefined> {
    return this.signed;
  }

  async sourceMap() {
    return undefined;
  }

  async names() {
    return ['test.echo'];
  }

  async close() {}
}

export interface RunBenchOptions {
  readonly store?: RunStore;
  readonly host?: FakeHost;
  readonly maxActiveRuns?: number;
  readonly partition?: string;
  readonly standing?: Standing;
  readonly maxResultBytes?: number;
  /** Absent: time jumps to the next timer. */
  readonly clock?: HandClock;
  /** Absent: a random token. */
  readonly newToken?: () => string;
}

/** Echoes the input `text` (or "x") as the output. */
export function echoing(host = new FakeHost()): FakeHost {
  host.behaviour = (attempt) => {
    const inputs: unknown = JSON.parse(attempt.request.inputsJson);
    const text = typeof inputs === 'object' && inputs !== null && 'text' in inputs ? inputs.text : 'x';
    attempt.complete({ text });
  };
  return host;
}

/** Time that jumps to the next timer instead of passing: every backoff is over as soon as nothing else is to do. */
class JumpingClock implements TimerQueue {
  #skewMs = 0;

  nowMs(): number {
    return Date.now() + this.#skewMs;
  }

  arm(dueMs: number, fire: () => void): Timer {
    const timer: Timer = { dueMs, fire, isCancelled: false };
    setImmediate(() => {
      if (timer.isCancelled) return;
      this.#skewMs += Math.max(0, dueMs - this.nowMs());
      fire();
    });
    return timer;
  }

  cancel(timer: Timer): void {
    timer.isCancelled = true;
  }
}

export class RunBench {
  readonly store: RunStore;
  readonly host: FakeHost;
  readonly sandboxes: FakeSandboxes;
  readonly plugins = new FakePlugins();
  readonly publisher = new LocalPublisher(SILENT);
  readonly service: RunService;
  readonly events: StatusEvent[] = [];
  readonly outcomes: CommandOutcomeEvent[] = [];
  readonly partition: string;
  readonly #clock: JumpingClock | HandClock;
  readonly #abort = new AbortController();
  readonly #watchers = new Set<() => void>();

  constructor(options: RunBenchOptions = {}) {
    this.store = options.store ?? openSqliteStore({ file: ':memory:' });
    this.host = options.host ?? new FakeHost();
    this.sandboxes = new FakeSandboxes(this.host);
    this.partition = options.partition ?? '0';
    this.#clock = options.clock ?? new JumpingClock();
    this.publisher.subscribe({
      onEvents: (_, events) => {
        for (const text of events) this.events.push(statusEventSchema.parse(JSON.parse(text)));
        for (const look of [...this.#watchers]) look();
      },
      onOutcome: (event) => {
        this.outcomes.push(event);
        for (const look of [...this.#watchers]) look();
      },
    });
    this.service = new RunService(
      {
        store: this.store,
        publisher: this.publisher,
        plugins: this.plugins,
        sandboxes: this.sandboxes,
        admission: new Admission(() => capacityOf(this.sandboxes, options.standing ?? ALWAYS_GOOD)),
        timers: this.#clock,
        clock: this.#clock,
        pause: options.clock?.pause ?? pause,
        standing: options.standing ?? ALWAYS_GOOD,
        quarantine: new Quarantine(),
        resultBytes: new ByteBudget(options.maxResultBytes ?? MAX_HELD_RESULT_BYTES),
        keptBytes: new ByteBudget(MAX_KEPT_COMMIT_BYTES),
        leaseMs: 15_000,
        log: SILENT,
        newToken: options.newToken ?? (() => randomBytes(16).toString('hex')),
        retentionMs: 60_000,
        stopGraceMs: 10,
        onStepLog: () => undefined,
        onStepProgress: () => undefined,
        signal: this.#abort.signal,
      },
      options.maxActiveRuns === undefined ? {} : { maxActiveRuns: options.maxActiveRuns },
    );
  }

  static async open(options: RunBenchOptions = {}): Promise<RunBench> {
    const bench = new RunBench(options);
    await bench.service.openPartition(bench.partition);
    return bench;
  }

  send(command: JsonObject, offset?: string, recordTimeMs = Date.now()) {
    const origin = offset === undefined ? {} : { origin: { partition: 0, offset, recordTimeMs } };
    return this.service.handle(parsed(command), 'kafka', { partition: this.partition, ...origin });
  }

  start(ref: RunRef, steps: JsonObject[], more: JsonObject = {}, offset?: string) {
    return this.send({ eventType: 'START', ...ref, steps, ...more }, offset);
  }

  /** Resolves when the condition holds, looked at whenever something was told. */
  async until(condition: () => boolean): Promise<void> {
    if (condition()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => condition() && resolve();
    this.#watchers.add(look);
    await promise;
    this.#watchers.delete(look);
  }

  /** "RUNNING", "a RUNNING", "a COMPLETED", … of one run. */
  story(runId: string): string[] {
    return this.events
      .filter((event) => event.runId === runId)
      .map((event) => (event.eventType === 'STEP_STATUS' ? `${event.stepId} ${event.status}` : event.status));
  }

  isFinal(runId: string): boolean {
    return this.story(runId).some((line) => line === 'COMPLETED' || line === 'FAILED' || line === 'STOPPED');
  }

  async ended(runId: string): Promise<void> {
    await this.until(() => this.isFinal(runId));
  }

  /** The engine dies: nothing is flushed, the store stays. */
  kill(): void {
    this.#abort.abort();
    void this.publisher.close();
    this.service.dropAll();
  }
}

export function parsed(command: JsonObject): Command {
  const read = readCommand(command);
  if (!read.ok) throw new Error(read.problem);
  return read.command;
}
