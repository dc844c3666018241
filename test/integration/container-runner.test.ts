/** The real runner of a step container as a plain child process, spoken to over the real protocol. */
import { describe, expect, test } from 'vitest';
import { runnerSteps } from '../support/step-host.ts';
import { bundleOf, startRunner } from '../support/worker-host.ts';
import { guestFetchSuite } from './guest-fetch-suite.ts';
import { guestGlobalsSuite } from './guest-globals-suite.ts';
import { guestSuite } from './guest-suite.ts';

const steps = runnerSteps();
guestSuite(steps);
guestGlobalsSuite(steps);
guestFetchSuite(steps);

const text = { o: { type: 'string' } } as const;
const forNode = { runtime: 'node', outputs: { o: { type: 'json' } } } as const;

describe('the limits of a step', () => {
  test.each([
    ['a loop without end', 'for (;;);', { wallMs: 300 }, 'LIMIT_WALL', /its wall limit of 300 ms$/],
    [
      'a promise that never settles',
      'await new Promise(() => {});',
      { wallMs: 300 },
      'LIMIT_WALL',
      /no timer and no call is open$/,
    ],
    ['a burner', 'for (;;);', { cpuMs: 200 }, 'LIMIT_CPU', /its CPU limit of 200 ms$/],
    [
      'outputs without end',
      "return { o: 'x'.repeat(2000) };",
      { outputBytes: 1000 },
      'LIMIT_OUTPUT',
      /limit of 1000 bytes$/,
    ],
    [
      'lines without end',
      "for (;;) logger.info('x'.repeat(100));",
      { logBytes: 1000 },
      'LIMIT_LOG',
      /its cap of 1000 bytes$/,
    ],
    [
      'calls without end',
      "for (;;) await context.secret('A').catch(() => {});",
      { hostCalls: 5 },
      'LIMIT_HOST_CALLS',
      /limit of 5 host calls$/,
    ],
    [
      'an uninterruptible builtin',
      "BigInt('1'.repeat(2e7));",
      { wallMs: 300 },
      'LIMIT_WALL',
      /its wall limit of 300 ms$/,
    ],
  ] as const)('%s is ended with its code', async (_, body, limits, code, message) => {
    const done = await steps.run(bundleOf(body, { outputs: text }), { limits });
    expect(done).toMatchObject({ status: 'FAILED', code, message: expect.stringMatching(message) });
  });

  test('what a plugin logs before it hangs is told', async () => {
    const done = await steps.run(bundleOf("logger.info('before'); for (;;);"), { limits: { wallMs: 300 } });
    expect(done.logs.map(({ message }) => message)).toEqual(['before']);
  });
});

describe('a plugin for Node', () => {
  test("has Node's own modules and globals, and the sandbox's way out", async () => {
    steps.answerCall = ({ token, callId, method, payloadJson }, peer) => {
      const answer =
        method === 'secret'
          ? { value: 's' }
          : {
              ...JSON.parse(Buffer.from(payloadJson).toString()),
              redirected: false,
              status: 200,
              statusText: '',
              headers: [],
              body: 'aGk=',
            };
      delete answer.method;
      delete answer.redirect;
      const bytes = Buffer.from(JSON.stringify(answer));
      peer.send({ case: 'hostReply', value: { token, callId, ok: true, payloadJson: bytes } });
    };
    const prologue = `import { createHash } from 'node:crypto'; import fs, { writeFileSync } from 'fs'; import * as os from 'node:os';
      import { createRequire as __flowopsCreateRequire } from 'node:module'; globalThis.require ??= __flowopsCreateRequire('/plugin.js');`;
    const source = bundleOf(
      `console.log('to the log', 1); process.stdout.write('to nowhere'); process.stderr.write('neither');
       const { setTimeout: sleep } = await import('node:timers/promises'); await sleep(1);
       const refused = await import('./other.js').catch((e) => e.name);
       return { o: [createHash('sha256').update('').digest('hex').slice(0, 4), fs.writeFileSync === writeFileSync, typeof os.EOL,
         require('path').join('a', 'b'), typeof Buffer, process.env, refused, await (await fetch('https://a.example/')).text(),
         await context.secret('A'), context.signal instanceof AbortSignal, import.meta.url, new Response('x') instanceof Response] };`,
      { ...forNode, prologue },
    );
    const done = await steps.run(source);
    expect(done).toMatchObject({ status: 'COMPLETED' });
    expect(done.outputs).toEqual({
      o: [
        'e3b0',
        true,
        'string',
        'a/b',
        'function',
        {},
        'TypeError',
        'hi',
        's',
        true,
        'file:///plugin/test.plugin.js',
        true,
      ],
    });
    expect(done.logs.map(({ message }) => message)).toEqual(['to the log 1']);
  });

  test.each([
    [
      'throws in a callback',
      "setTimeout(() => { throw new Error('late'); }, 1); await new Promise(() => {});",
      'PLUGIN_ERROR',
      /^late$/,
    ],
    ['ends its own process', 'process.exit(3);', 'SANDBOX_CRASHED', /exit code 3$/],
    ['throws', "throw new TypeError('boo');", 'PLUGIN_ERROR', /^TypeError: boo$/],
  ])('that %s fails', async (_, body, code, message) => {
    expect(await steps.run(bundleOf(body, forNode))).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test('that imports what is not there is PLUGIN_INVALID', async () => {
    const done = await steps.run(bundleOf('return { o: 1 };', { ...forNode, prologue: "import 'left-pad';" }));
    expect(done).toMatchObject({ code: 'PLUGIN_INVALID', message: expect.stringContaining('"left-pad"') });
  });
});

describe('the process', () => {
  test('runs one step and ends; a second one is refused', async () => {
    const runner = await startRunner();
    const first = runner.start(
      bundleOf("logger.info('ready'); await new Promise((r) => setTimeout(r, 50)); return {};"),
    );
    await first.logged('ready');
    expect(await runner.run(bundleOf('return {};'))).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
    expect(await first.result).toMatchObject({ status: 'COMPLETED' });
    expect(await runner.ended).toEqual({ code: 0, signal: null });
  });

  test('ends when its host goes, before a step and in the middle of one', async () => {
    const idle = await startRunner();
    idle.peer.close('gone');
    expect(await idle.ended).toEqual({ code: 0, signal: null });
    const busy = await startRunner();
    const step = busy.start(bundleOf("logger.info('ready'); for (;;);"));
    await step.logged('ready');
    busy.peer.close('gone');
    expect(await busy.ended).toEqual({ code: null, signal: 'SIGKILL' });
  });

  test('a stop before the bundle has come ends the step before it began', async () => {
    const runner = await startRunner();
    const step = runner.start(bundleOf("logger.info('ran'); return {};"));
    runner.cancel(step, 1_000, 'no longer wanted');
    expect(await step.result).toMatchObject({ status: 'CANCELLED', message: 'no longer wanted', logs: [] });
  });

  test("speaks on two other descriptors where it is told to, and a plugin's bytes on stdout hurt nobody", async () => {
    const runner = await startRunner({ onOwnDescriptors: true });
    const source = bundleOf("(await import('node:fs')).writeSync(1, 'x'.repeat(1000)); return { o: 1 };", forNode);
    expect(await runner.run(source)).toMatchObject({ status: 'COMPLETED', outputs: { o: 1 } });
  });

  test('bytes of a plugin among the frames end only its own connection', async () => {
    const source = bundleOf("(await import('node:fs')).writeSync(1, 'x'.repeat(1000)); return { o: 1 };", forNode);
    expect(await steps.run(source)).toMatchObject({ status: 'WORKER_ENDED' });
  });
});
