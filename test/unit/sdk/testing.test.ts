import { execFileSync } from 'node:child_process';
import { isBuiltin } from 'node:module';
import { GUEST_GLOBALS, GUEST_MEMBERS } from '@flowops/proto/guest-globals.ts';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DEFAULT_LIMITS } from '../../../sandbox/policy/default-limits.ts';
import { BaseTask, defineTask, Input, Output, TaskError, TaskType } from '../../../sdk/index.ts';
import { MISSING_GLOBALS } from '../../../sdk/testing/node-globals.ts';
import { MAX_TEST_OUTPUT_BYTES } from '../../../sdk/testing/test-step.ts';
import { runTask } from '../../../sdk/testing.ts';

@TaskType({ name: 'acme.greet', version: '1.0.0' })
class Greet extends BaseTask {
  @Input({ type: 'string' }) name!: string;
  @Input({ type: 'integer' }) times = 1;
  @Output({ type: 'string' }) message = '';
  start() {
    this.logger.info('greeting', { name: this.name });
    this.context.progress(0.5, 'half');
    this.message = `Hello, ${this.name}! `.repeat(this.times).trim();
  }
}

const rate = defineTask({
  name: 'acme.rate',
  version: '1.0.0',
  permissions: { net: ['api.example.com:443'], secrets: ['API_TOKEN'] },
  inputs: { path: { type: 'string', default: 'https://api.example.com/rate' } },
  outputs: { rate: { type: 'float' } },
  async run({ inputs, context }) {
    const token = await context.secret('API_TOKEN');
    const response = await context.fetch(inputs.path, { headers: { authorization: `Bearer ${token}` } });
    const { value } = (await response.json()) as { value: number };
    return { rate: value };
  },
});

/** A task of one line. */
const doing = (run: (given: { readonly context: BaseTask['context'] }) => unknown, permissions = {}) =>
  defineTask({
    name: 'acme.any',
    version: '1.0.0',
    permissions,
    outputs: { o: { type: 'json' } },
    run: async (given) => ({ o: await run(given) }),
  });

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('runTask', () => {
  it('runs a class and tells its outputs, log and progress', async () => {
    expect(await runTask(Greet, { inputs: { name: 'Ada', times: 2 } })).toEqual({
      status: 'COMPLETED',
      code: null,
      error: null,
      stack: '',
      outputs: { message: 'Hello, Ada! Hello, Ada!' },
      logs: [{ level: 'info', message: 'greeting', fields: { name: 'Ada' } }],
      progress: [{ fraction: 0.5, message: 'half' }],
    });
  });

  it('runs what defineTask returned, with the fetch and the secrets of the test', async () => {
    const requests: Request[] = [];
    const fetch = (request: Request) => {
      requests.push(request);
      return Response.json({ value: 1.5 });
    };
    const result = await runTask(rate, { secrets: { API_TOKEN: 'abc' }, fetch });
    expect(result).toMatchObject({ status: 'COMPLETED', outputs: { rate: 1.5 } });
    expect(requests.map(({ url, headers }) => [url, headers.get('authorization')])).toEqual([
      ['https://api.example.com/rate', 'Bearer abc'],
    ]);
  });

  it('gives attempt and idempotency key', async () => {
    const task = doing(({ context: { attempt, idempotencyKey } }) => `${attempt} ${idempotencyKey}`);
    expect((await runTask(task)).outputs).toEqual({ o: '1 test' });
    expect((await runTask(task, { attempt: 3, idempotencyKey: 'run:step' })).outputs).toEqual({ o: '3 run:step' });
  });

  it('reads text by the declared type, as the engine does with a flow', async () => {
    expect(await runTask(Greet, { inputs: { name: 'Ada', times: '2' } })).toMatchObject({
      outputs: { message: 'Hello, Ada! Hello, Ada!' },
    });
  });

  it.each([
    [{}, 'input name (string) is required; give it with { inputs: { name: … } }'],
    [{ name: 'Ada', times: 1.5 }, 'input times must be a whole number, but is 1.5'],
    [{ name: 'Ada', tims: 1 }, 'the task has no input tims; did you mean times?'],
    [{ name: 'Ada', times: new Map() }, 'what the test gave as inputs.times is a Map'],
  ])('refuses the inputs %o with INPUT_INVALID', async (inputs, message) => {
    const result = await runTask(Greet, { inputs });
    expect(result).toMatchObject({ status: 'FAILED', code: 'INPUT_INVALID', outputs: {} });
    expect(result.error).toContain(message);
  });

  it('tells what a task throws with its code and the lines of the author', async () => {
    const result = await runTask(
      doing(() => {
        throw new TaskError('no such customer', { retryable: false });
      }),
    );
    expect(result).toMatchObject({ status: 'FAILED', code: 'PLUGIN_FATAL', error: 'no such customer' });
    expect(result.stack).toMatch(/^\s+at .*testing\.test\.ts/);
    expect(result.stack).not.toContain('task-runtime');
  });

  it('refuses outputs that are not of their type, and those over the limit that a policy gives', async () => {
    const wrong = defineTask({
      name: 'a',
      version: '1.0.0',
      outputs: { o: { type: 'integer' } },
      run: () => ({ o: 1.5 }),
    });
    expect(await runTask(wrong)).toMatchObject({ code: 'OUTPUT_INVALID', error: expect.stringContaining('is 1.5') });
    expect(await runTask(doing(() => 'x'.repeat(MAX_TEST_OUTPUT_BYTES)))).toMatchObject({ code: 'LIMIT_OUTPUT' });
    expect(MAX_TEST_OUTPUT_BYTES).toBe(DEFAULT_LIMITS.outputBytes);
  });

  it.each([
    [undefined, 'there is no default export'],
    [
      class extends BaseTask {
        start() {}
      },
      'without @TaskType',
    ],
    [defineTask({ name: 'No Name', version: '1.0.0', run() {} }), 'name: must be 1 to 128 characters of a-z'],
    [defineTask({ name: 'a', version: '1', run() {} }), 'version: must be a semantic version like 1.0.0'],
    [
      defineTask({ name: 'a', version: '1.0.0', permissions: { net: ['https://a.example'] }, run() {} }),
      'asks for "https://a.example": permissions.net takes host:port',
    ],
  ])('says what is wrong with a declaration (%#)', async (task, problem) => {
    // What the compiler refuses comes from JavaScript.
    const result = await runTask(task as typeof Greet);
    expect(result).toMatchObject({ status: 'FAILED', code: 'PLUGIN_INVALID' });
    expect(result.error).toContain(problem);
  });

  it('tells what a constructor throws', async () => {
    @TaskType({ name: 'a', version: '1.0.0' })
    class A extends BaseTask {
      readonly made = JSON.parse('{');
      start() {}
    }
    expect(await runTask(A)).toMatchObject({ status: 'FAILED', code: 'PLUGIN_ERROR' });
  });
});

describe('a stop in a test', () => {
  it('aborts the signal, calls stop() and ends what waits for an answer', async () => {
    const calls: string[] = [];
    @TaskType({ name: 'a', version: '1.0.0', permissions: { net: ['a.example:443'] } })
    class A extends BaseTask {
      async start() {
        await this.context
          .fetch('https://a.example/')
          .catch(() => calls.push(`aborted ${this.context.signal.aborted}`));
      }
      override stop() {
        calls.push('stop');
      }
    }
    const stop = new AbortController();
    const fetch = () => {
      stop.abort();
      return new Promise<Response>(() => undefined);
    };
    expect(await runTask(A, { signal: stop.signal, fetch })).toMatchObject({ status: 'CANCELLED', code: 'CANCELLED' });
    expect(calls).toEqual(['stop', 'aborted true']);
  });

  it('ends a task that does not stop after the grace time', async () => {
    const calls: string[] = [];
    @TaskType({ name: 'a', version: '1.0.0' })
    class A extends BaseTask {
      start() {
        return new Promise<void>(() => stop.abort());
      }
      override stop() {
        calls.push('stop');
        throw new Error('no');
      }
    }
    const stop = new AbortController();
    // Loaded anew, it takes the timers that are there for the real ones.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    vi.resetModules();
    const { runTask: runWithFakeTimers } = await import('../../../sdk/testing.ts');
    const running = runWithFakeTimers(A, { signal: stop.signal });
    await vi.advanceTimersByTimeAsync(2000);
    const result = await running;
    expect(result).toMatchObject({ status: 'CANCELLED', error: expect.stringContaining('did not end within 2000 ms') });
    expect(calls).toEqual(['stop']);
    expect(result.logs).toEqual([{ level: 'error', message: 'stop() failed: no' }]);
  });

  it('before the task begins runs none of it', async () => {
    const result = await runTask(Greet, { inputs: { name: 'a' }, signal: AbortSignal.abort() });
    expect(result).toMatchObject({ status: 'CANCELLED', error: 'stopped before the task began', logs: [] });
  });
});

describe('what the manifest does not ask for', () => {
  const net = ['api.example.com:443'];
  const get = (url: string, permissions: object = { net }) =>
    doing(({ context }) => context.fetch(url).then((r) => r.url), permissions);
  const answer = () => new Response('ok');

  it.each([
    ['https://other.example/x', 'net: ["other.example:443"]'],
    ['http://api.example.com/', 'net: ["api.example.com:80"]'],
    ['http://localhost:8080/', 'net: ["private:localhost:8080"]'],
    ['http://[::1]:8080/', 'net: ["private:[::1]:8080"]'],
  ])('fetch of %s is POLICY_DENIED with the line to add', async (url, line) => {
    const result = await runTask(get(url), { fetch: answer });
    expect(result).toMatchObject({ status: 'FAILED', code: 'POLICY_DENIED' });
    expect(result.error).toContain(`To allow it, in the plugin: permissions: { ${line} }`);
  });

  it('a private place takes a private permission, which is then enough', async () => {
    const url = 'http://127.0.0.1:8080/';
    const refused = await runTask(get(url, { net: ['127.0.0.1:8080'] }), { fetch: answer });
    expect(refused).toMatchObject({
      code: 'POLICY_DENIED',
      error: expect.stringContaining('"private:127.0.0.1:8080"'),
    });
    expect(await runTask(get(url, { net: ['private:127.0.0.1:8080'] }), { fetch: answer })).toMatchObject({
      outputs: { o: url },
    });
  });

  it('other schemes and a user in the URL are refused', async () => {
    expect(await runTask(get('ftp://api.example.com/'), { fetch: answer })).toMatchObject({ code: 'POLICY_DENIED' });
    expect(await runTask(get('https://a:b@api.example.com/'), { fetch: answer })).toMatchObject({
      code: 'PLUGIN_ERROR',
    });
  });

  it('a redirect is looked at like a first request, and its credentials stay behind', async () => {
    const elsewhere = (request: Request) =>
      request.url.endsWith('/a')
        ? Response.redirect('https://other.example/b')
        : Response.json(Object.fromEntries(request.headers));
    const refused = await runTask(get('https://api.example.com/a'), { fetch: elsewhere });
    expect(refused.error).toContain('was redirected by api.example.com:443 to other.example:443');
    const both = doing(
      async ({ context }) => {
        const response = await context.fetch('https://api.example.com/a', {
          headers: { authorization: 'x', 'x-mine': 'y' },
        });
        return [response.url, response.redirected, await response.json()];
      },
      { net: [...net, 'other.example:443'] },
    );
    expect((await runTask(both, { fetch: elsewhere })).outputs).toEqual({
      o: ['https://other.example/b', true, { 'x-mine': 'y' }],
    });
  });

  it('the body of a request goes along with a redirect that keeps its method', async () => {
    const echo = async (request: Request) =>
      request.url.endsWith('/a')
        ? new Response(null, { status: 307, headers: { location: '/b' } })
        : Response.json([request.method, await request.text()]);
    const post = doing(
      async ({ context }) => (await context.fetch('https://api.example.com/a', { method: 'POST', body: 'hi' })).json(),
      { net },
    );
    expect((await runTask(post, { fetch: echo })).outputs).toEqual({ o: ['POST', 'hi'] });
  });

  it('a secret is POLICY_DENIED with the line to add, and so is one that the test did not give', async () => {
    const read = (permissions: object) => doing(({ context }) => context.secret('TOKEN'), permissions);
    const unasked = await runTask(read({}), { secrets: { TOKEN: 'x' } });
    expect(unasked).toMatchObject({ code: 'POLICY_DENIED' });
    expect(unasked.error).toContain('permissions: { secrets: ["TOKEN"] }');
    const missing = await runTask(read({ secrets: ['TOKEN'] }));
    expect(missing).toMatchObject({ code: 'POLICY_DENIED' });
    expect(missing.error).toContain("{ secrets: { TOKEN: '…' } }");
  });

  it('a task that handles a refusal goes on, and one that throws an error of its own has no code of ours', async () => {
    const caught = doing(({ context }) => context.secret('TOKEN').catch((error: { code: string }) => error.code));
    expect((await runTask(caught)).outputs).toEqual({ o: 'POLICY_DENIED' });
    const claimed = doing(() => Promise.reject(Object.assign(new Error('no'), { code: 'POLICY_DENIED' })));
    expect(await runTask(claimed)).toMatchObject({ code: 'PLUGIN_ERROR' });
  });

  it('without a fetch nothing answers, and the error says how to give one', async () => {
    const result = await runTask(get('https://api.example.com/'));
    expect(result).toMatchObject({ status: 'FAILED', code: 'PLUGIN_ERROR' });
    expect(result.error).toContain('runTask(Task, { fetch: (request) => Response.json({ … }) })');
    const wrong = await runTask(get('https://api.example.com/'), { fetch: () => ({}) as Response });
    expect(wrong.error).toContain('something else than a Response');
  });
});

describe('globals while a task runs', () => {
  it('that no sandbox has are not there, and are for the code of the test', async () => {
    const { process: real } = globalThis;
    const before = Object.getOwnPropertyDescriptor(globalThis, 'process');
    const look = doing(
      async ({ context }) => {
        const types = [typeof process, typeof Buffer, typeof SharedArrayBuffer, typeof setImmediate];
        await context.fetch('https://a.example/');
        return [...types, typeof process];
      },
      { net: ['a.example:443'] },
    );
    const seen: unknown[] = [];
    const fetch = () => {
      seen.push(process);
      return new Response('');
    };
    const running = runTask(look, { fetch });
    expect(process).toBe(real);
    expect((await running).outputs).toEqual({ o: Array(5).fill('undefined') });
    expect(seen).toEqual([real]);
    expect(Object.getOwnPropertyDescriptor(globalThis, 'process')).toEqual(before);
  });

  it('are named when a task falls over one that is missing', async () => {
    const result = await runTask(doing(() => process.env.HOME));
    expect(result).toMatchObject({ status: 'FAILED', code: 'PLUGIN_ERROR' });
    expect(result.error).toContain(
      'the code looked for process: no sandbox has that, unless the manifest says runtime: "node"',
    );
  });

  it('are all of Node for a task with runtime: "node"', async () => {
    const task = defineTask({
      name: 'a',
      version: '1.0.0',
      runtime: 'node',
      outputs: { o: { type: 'string' } },
      run: () => ({ o: typeof process.pid }),
    });
    expect((await runTask(task)).outputs).toEqual({ o: 'number' });
  });

  it('console goes to the log and fetch to the fetch of the context', async () => {
    const task = doing(async () => {
      console.warn('%s is %d', 'it', 3, { a: 1 });
      return fetch('https://a.example/').catch((error: { code: string }) => error.code);
    });
    const result = await runTask(task, { fetch: () => new Response('') });
    expect(result.logs).toEqual([{ level: 'warn', message: 'it is 3 { a: 1 }' }]);
    expect(result.outputs).toEqual({ o: 'POLICY_DENIED' });
  });

  it('that a task puts there itself are its own', async () => {
    const task = doing(() => {
      globalThis.Blob ??= class {} as unknown as typeof Blob;
      return [typeof Blob, 'size' in Blob.prototype];
    });
    expect((await runTask(task)).outputs).toEqual({ o: ['function', false] });
    expect('size' in Blob.prototype).toBe(true);
  });

  it('console is as large as the sandbox has it', async () => {
    const task = doing(() => Object.keys(console).sort());
    expect((await runTask(task)).outputs).toEqual({ o: [...GUEST_MEMBERS.console].sort() });
  });

  it('crypto has what the sandbox has of it', async () => {
    const task = doing(async () => {
      const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode('a'));
      return [
        digest.byteLength,
        crypto.randomUUID().length,
        crypto.getRandomValues(new Uint8Array(2)).length,
        typeof crypto.subtle.encrypt,
      ];
    });
    expect((await runTask(task)).outputs).toEqual({ o: [32, 36, 2, 'undefined'] });
  });

  it('belong to two tasks at the same time, each its own', async () => {
    const gate = Promise.withResolvers<void>();
    const task = (word: string) =>
      doing(async () => {
        await gate.promise;
        console.log(word);
      });
    const both = Promise.all([runTask(task('one')), runTask(task('two'))]);
    gate.resolve();
    const logs = (await both).map((result) => result.logs.map(({ message }) => message));
    expect(logs).toEqual([['one'], ['two']]);
  });

  it('that a test put there meanwhile stay', async () => {
    const task = doing(() => vi.stubGlobal('navigator', 'mine'));
    await runTask(task);
    expect(navigator).toBe('mine');
  });

  it('are all that this Node puts beside ECMAScript and the closed list', () => {
    const print = (expression: string) => `console.log(JSON.stringify(${expression}))`;
    const runModule = (code: string) =>
      execFileSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
    const text = runModule(print('Object.getOwnPropertyNames(globalThis)'));
    const ownNames = "vm.runInNewContext('Object.getOwnPropertyNames(globalThis)')";
    const bare = runModule(`import vm from 'node:vm'; ${print(ownNames)}`);
    const ofEcmaScript: string[] = JSON.parse(bare);
    // `-e` makes Node's modules globals; they are none in a program.
    const names = (JSON.parse(text) as string[]).filter((name) => !isBuiltin(name));
    const listed = new Set<string>([...MISSING_GLOBALS, ...GUEST_GLOBALS]);
    expect(names.filter((name) => !ofEcmaScript.includes(name) && !listed.has(name))).toEqual([]);
  });
});
