/**
 * A sandbox host for tests of the build: hand-written, it answers each attempt with what the test says and keeps what it
 * was asked. It evaluates nothing.
 */
import type { AttemptOutcome, AttemptRequest, SandboxHost } from '@flowops/proto/attempt.ts';

export type Answer = (bundleText: string, request: AttemptRequest) => AttemptOutcome;

export class AnsweringSandbox {
  /** The bundles that were to be evaluated, as text. */
  readonly asked: string[] = [];
  readonly requests: AttemptRequest[] = [];
  opened = 0;
  readonly #answer: Answer;

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  readonly open = async (): Promise<{ ok: true; host: SandboxHost }> => {
    this.opened++;
    return { ok: true, host: this.#host() };
  };

  #host(): SandboxHost {
    return {
      instance: 'answering',
      maxAttempts: 1,
      isShared: false,
      closed: new Promise(() => {}),
      run: (request) => {
        this.requests.push(request);
        const outcome = request.bundle().then((result) => {
          if (!result.ok) throw new Error('the build always has the bytes');
          const text = Buffer.from(result.bundle.bytes).toString('utf8');
          this.asked.push(text);
          return this.#answer(text, request);
        });
        return { outcome, cancel() {}, pause() {}, resume() {}, acknowledge() {}, leave() {} };
      },
      attach: async () => ({ state: 'unknown' }),
      close: async () => {},
    };
  }
}

export function completedWith(manifest: object): AttemptOutcome {
  return { status: 'COMPLETED', outputsJson: JSON.stringify(manifest), receipt: null };
}

export function failedWith(failure: Partial<Extract<AttemptOutcome, { status: 'FAILED' }>>): AttemptOutcome {
  return {
    status: 'FAILED',
    code: 'PLUGIN_ERROR',
    message: 'it failed',
    receipt: null,
    stack: '',
    retryable: false,
    retryAfterMs: 0,
    ...failure,
  };
}
