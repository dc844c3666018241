/** One step in a test: the logger and context that its task is given, what the task told, and the result of its end. */
import { assertNever } from '@flowops/proto/errors.ts';
import { isJsonObject, parseJson } from '@flowops/proto/json.ts';
import type { Manifest } from '@flowops/proto/manifest.ts';
import type { TaskInit } from '../base-task.ts';
import type { Logger, TaskContext } from '../context.ts';
import { toJsonText } from '../json-text.ts';
import type { JsonValue } from '../metadata.ts';
import type { TaskReport } from '../task-runtime.ts';
import { cut } from '../thrown.ts';
import { callError, codeOf } from './call-error.ts';
import { createTestFetch } from './test-fetch.ts';
import type { RunTaskOptions, TaskResult, TestLogLine, TestProgress } from './test-types.ts';

/** What a policy gives unless it says otherwise, bytes of the outputs together. */
export const MAX_TEST_OUTPUT_BYTES = 1_048_576;
/** Lines and tellings that are kept; a test that looks at more than these looks at none. */
const MAX_KEPT = 10_000;
const MAX_MESSAGE_LENGTH = 16 * 1024;
const MAX_FRAMES = 10;
/** Frames of the SDK and of Node say nothing to the author of a task. */
const OWN_FOLDER = decodeURIComponent(new URL('..', import.meta.url).pathname);
const OTHERS_FRAME = /\bnode:|[\\/]node_modules[\\/]@flowops[\\/]/;

export type StepEnd = TaskReport | { readonly status: 'cancelled'; readonly message: string };

export class TestStep {
  readonly #options: RunTaskOptions;
  readonly #logs: TestLogLine[] = [];
  readonly #progress: TestProgress[] = [];
  readonly #stop = new AbortController();
  readonly #missing = new Set<string>();
  #isMissingFelt = false;
  #manifest: Manifest | undefined;
  readonly init: TaskInit;
  readonly fetch: typeof globalThis.fetch;

  constructor(options: RunTaskOptions) {
    this.#options = options;
    this.fetch = async (input, init) => await this.#createFetch()(input, init);
    this.init = { logger: this.#createLogger(), context: this.#createContext() };
  }

  /** What it asks for is known from here on. */
  begin(manifest: Manifest): void {
    this.#manifest = manifest;
  }

  /** The signal aborts, and with it what waits for an answer. */
  stop(): void {
    this.#stop.abort();
  }

  /** The task looked for a global that no sandbox has. */
  missed(name: string): void {
    this.#missing.add(name);
  }

  readonly codeOf = (thrown: unknown): string | undefined => {
    this.#isMissingFelt ||= thrown instanceof TypeError || thrown instanceof ReferenceError;
    return codeOf(thrown);
  };

  resultOf(end: StepEnd): TaskResult {
    const told = { logs: this.#logs, progress: this.#progress };
    switch (end.status) {
      case 'completed':
        return {
          status: 'COMPLETED',
          code: null,
          error: null,
          stack: '',
          outputs: outputsOf(end.outputsJson),
          ...told,
        };
      case 'failed': {
        const error = end.message + this.#missingText();
        return { status: 'FAILED', code: end.code, error, stack: authorsFrames(end.stack), outputs: {}, ...told };
      }
      case 'cancelled':
        return { status: 'CANCELLED', code: 'CANCELLED', error: end.message, stack: '', outputs: {}, ...told };
      default:
        return assertNever(end);
    }
  }

  /** Only where the error can come from it: packages look for such globals to find out where they run. */
  #missingText(): string {
    if (!this.#isMissingFelt || this.#missing.size === 0) return '';
    const names = [...this.#missing].slice(0, 5).join(', ');
    return ` (the code looked for ${names}: no sandbox has that, unless the manifest says runtime: "node")`;
  }

  #createLogger(): Logger {
    const at =
      (level: TestLogLine['level']) =>
      (message: string, fields?: Readonly<Record<string, unknown>>): void => {
        if (this.#logs.length >= MAX_KEPT) return;
        const line = { level, message: cut(String(message), MAX_MESSAGE_LENGTH) };
        this.#logs.push(fields === undefined || fields === null ? line : { ...line, fields: copyFields(fields) });
      };
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }

  #createContext(): TaskContext {
    const { idempotencyKey = 'test', attempt = 1 } = this.#options;
    return {
      signal: this.#stop.signal,
      fetch: this.fetch,
      secret: async (name) => this.#secret(name),
      progress: (fraction, message = '') => {
        if (!Number.isFinite(fraction)) throw new TypeError('context.progress takes a number from 0 to 1');
        if (this.#progress.length >= MAX_KEPT) return;
        this.#progress.push({ fraction: Math.max(0, Math.min(1, fraction)), message: String(message) });
      },
      idempotencyKey,
      attempt,
    };
  }

  #createFetch(): typeof globalThis.fetch {
    const { name = 'the task', permissions } = this.#manifest ?? {};
    const { fetch } = this.#options;
    return createTestFetch({ pluginName: name, net: permissions?.net ?? [], fetch, stop: this.#stop.signal });
  }

  #secret(name: unknown): string {
    if (typeof name !== 'string' || name === '') throw new TypeError('context.secret takes the name of a secret');
    const { name: plugin = 'the task', permissions } = this.#manifest ?? {};
    if (permissions?.secrets.includes(name) !== true) {
      const asked = `${plugin} asked for the secret ${name}, and its permissions do not name it`;
      const line = `To allow it, in the plugin: permissions: { secrets: [${JSON.stringify(name)}] }`;
      throw callError('secret', 'POLICY_DENIED', `${asked}. ${line}`);
    }
    const { secrets = {} } = this.#options;
    const value = Object.hasOwn(secrets, name) ? secrets[name] : undefined;
    if (value !== undefined && value !== '') return value;
    const what = `${plugin} may have the secret ${name}, but the test gave none`;
    throw callError('secret', 'POLICY_DENIED', `${what}: give it with { secrets: { ${name}: '…' } }`);
  }
}

/** What a run would keep of them: JSON, as it was when the line was written. */
function copyFields(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const json = toJsonText(fields, MAX_MESSAGE_LENGTH);
  const parsed = json.ok ? parseJson(json.text) : json;
  return parsed.ok && isJsonObject(parsed.value) ? parsed.value : { fields: String(fields) };
}

function outputsOf(outputsJson: string): Readonly<Record<string, JsonValue>> {
  const parsed = parseJson(outputsJson);
  return parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
}

function authorsFrames(stack: string): string {
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line));
  const authors = frames.filter((line) => !OTHERS_FRAME.test(line) && !isOwn(line));
  return authors.slice(0, MAX_FRAMES).join('\n');
}

function isOwn(frame: string): boolean {
  return frame.includes(OWN_FOLDER) && !frame.includes(`${OWN_FOLDER}examples/`);
}
