/**
 * What every tier does with a plugin: one suite, run against the real isolate worker and the real runner of a step
 * container, over the real protocol.
 */
import path from 'node:path';
import { secretRequestSchema } from '@flowops/proto/host-call-messages.ts';
import { manifestSchema } from '@flowops/proto/manifest.ts';
import { build } from 'esbuild';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { moduleOf } from '../../sandbox/doctor/bundle-text.ts';
import type { StepHost } from '../support/step-host.ts';
import { bundleOf, denied } from '../support/worker-host.ts';

const text = { o: { type: 'string' } } as const;

export function guestSuite(w: StepHost): void {
  beforeEach(() => {
    w.answerCall = denied;
  });
  afterAll(() => w.close());

  test('inputs go in, outputs and log lines come out, with the levels of logger and console', async () => {
    const source = bundleOf(
      `logger.debug('one', { a: 1 }); console.log('two %s %d', 'x', 2, { b: [1] }); console.warn(new Map([['k', 1]]));
     console.error('four'); logger.info('five', { n: 1n }); context.progress(0.5, 'half');
     return { o: inputs.name + context.attempt + context.idempotencyKey };`,
      { inputs: { name: { type: 'string', required: true } }, outputs: text },
    );
    const done = await w.run(source, { inputs: { name: 'Ada' }, attempt: 3, idempotencyKey: 'f/r/s' });
    expect(done).toMatchObject({ status: 'COMPLETED', outputs: { o: 'Ada3f/r/s' } });
    expect(done.logs.map(({ level, message }) => [level, message])).toEqual([
      ['debug', 'one'],
      ['info', 'two x 2 { b: [ 1 ] }'],
      ['warn', 'Map { "k" => 1 }'],
      ['error', 'four'],
      ['info', 'five'],
    ]);
    expect(Buffer.from(done.logs[0]?.fieldsJson ?? []).toString()).toBe('{"a":1}');
    expect(Buffer.from(done.logs[4]?.fieldsJson ?? []).toString()).toBe('{"fields":"{ n: 1n }"}');
    expect(done.progress).toMatchObject([{ fraction: 0.5, message: 'half' }]);
    expect(done.usage).toMatchObject({ cpuMs: expect.any(Number), heapBytes: expect.any(Number) });
  });

  test('a class from the SDK, built by esbuild, runs and gives its manifest', async () => {
    const folder = path.join(import.meta.dirname, '..', '..', 'sdk', 'index.ts');
    const contents = `
    import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';
    @TaskType({ name: 'bar.hello', version: '1.0.0' })
    export default class Hello extends BaseTask {
      @Input({ type: 'integer' }) repeatCount!: number;
      @Input({ type: 'integer' }) delay!: number;
      @Input({ type: 'string', default: 'Hello' }) text!: string;
      @Output({ type: 'string' }) message = '';
      async start() {
        for (let i = 0; i < this.repeatCount; i++) {
          await new Promise((r) => setTimeout(r, this.delay));
          this.message += this.text + ' ';
        }
        this.message = this.message.trim();
      }
    }`;
    const built = await build({
      stdin: { contents, loader: 'ts', resolveDir: import.meta.dirname },
      alias: { '@flowops/sdk': folder },
      bundle: true,
      write: false,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
    });
    const code = built.outputFiles[0]?.text ?? '';
    const inspected = await w.run(code, { inspect: true });
    expect(inspected).toMatchObject({
      status: 'COMPLETED',
      outputs: { name: 'bar.hello', inputs: { text: { default: 'Hello' } } },
    });
    const source = `//! flowops-plugin ${JSON.stringify(manifestSchema.parse(inspected.outputs))}\n${code}`;
    const done = await w.run(source, { inputs: { repeatCount: 2, delay: 1 } });
    expect(done).toMatchObject({ status: 'COMPLETED', outputs: { message: 'Hello Hello' } });
  });

  test('what a plugin throws comes with its message, its causes and its own frames only', async () => {
    const source = bundleOf("throw new TypeError('boo', { cause: new Error('why') });", { name: 'acme.boo' });
    const done = await w.run(source);
    expect(done).toMatchObject({ status: 'FAILED', code: 'PLUGIN_ERROR', message: 'TypeError: boo (caused by: why)' });
    expect(done.stack).toMatch(/^ {4}at Object\.run \(acme\.boo\.js:\d+:\d+\)$/);
  });

  test.each([
    ['a module that throws', "throw new RangeError('top');", 'RangeError: top'],
    [
      'a top-level await that is rejected',
      "await new Promise((_, no) => setTimeout(() => no(new Error('late top')), 5));",
      'late top',
    ],
  ])('%s fails with PLUGIN_ERROR', async (_, prologue, message) => {
    expect(await w.run(bundleOf('return {};', { prologue }))).toMatchObject({ code: 'PLUGIN_ERROR', message });
  });

  test('a module with a top-level await runs once it is there', async () => {
    const prologue = 'const late = await new Promise((yes) => setTimeout(() => yes("late"), 5));';
    const done = await w.run(bundleOf('return { o: late };', { prologue, outputs: text }));
    expect(done).toMatchObject({ status: 'COMPLETED', outputs: { o: 'late' } });
  });

  test.each([
    [
      'a callback of a timer throws',
      "setTimeout(() => { throw new Error('in a timer'); }, 1); await new Promise(() => {});",
      'in a timer',
    ],
    [
      'a rejection that nobody handles',
      "Promise.reject(new Error('floating')); await new Promise(() => {});",
      'floating',
    ],
  ])('%s: the step fails as a process would', async (_, body, message) => {
    expect(await w.run(bundleOf(body))).toMatchObject({ code: 'PLUGIN_ERROR', message });
  });

  test('a host call that is refused rejects with its code, and ends the step with it when nobody catches', async () => {
    const caught = bundleOf(
      "try { await context.secret('A'); } catch (e) { return { o: e.code + ' ' + e.message }; }",
      {
        outputs: text,
      },
    );
    expect((await w.run(caught)).outputs).toEqual({ o: 'POLICY_DENIED the policy grants no secret' });
    expect(await w.run(bundleOf("await context.fetch('https://example.org');"))).toMatchObject({
      code: 'POLICY_DENIED',
    });
    const forged = bundleOf(
      "throw Object.assign(new Error('mine'), { code: 'POLICY_DENIED', name: 'HostCallError' });",
    );
    expect(await w.run(forged)).toMatchObject({ code: 'PLUGIN_ERROR' });
  });

  test('a host call that is answered resolves with what the host gave', async () => {
    w.answerCall = (call, peer) => {
      const { token, callId } = call;
      const { name } = secretRequestSchema.parse(JSON.parse(Buffer.from(call.payloadJson).toString()));
      const payloadJson = Buffer.from(JSON.stringify({ value: `value of ${name}` }));
      peer.send({ case: 'hostReply', value: { token, callId, ok: true, payloadJson } });
    };
    const done = await w.run(bundleOf("return { o: await context.secret('A') };", { outputs: text }));
    expect(done.outputs).toEqual({ o: 'value of A' });
  });

  test('a stop aborts the signal; a step that ends within the grace is CANCELLED', async () => {
    const source = bundleOf(
      `logger.info('ready'); await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
     logger.info('cleaned up ' + context.signal.reason.name);`,
    );
    const step = await w.start(source);
    await step.logged('ready');
    w.cancel(step, 5_000, 'stopped by a person');
    const done = await step.result;
    expect(done).toMatchObject({ status: 'CANCELLED', message: 'stopped by a person' });
    expect(done.logs.map(({ message }) => message)).toContain('cleaned up AbortError');
  });

  test('a step that ignores the stop is ended after the grace', async () => {
    const step = await w.start(bundleOf("logger.info('ready'); for (;;) await new Promise((r) => setTimeout(r, 1));"));
    await step.logged('ready');
    w.cancel(step, 50);
    expect(await step.result).toMatchObject({ status: 'CANCELLED' });
  });

  test.each([
    ['no default export', 'export const a = 1;', 'there is no default export'],
    ['a syntax error', 'export default {', 'Unexpected end of input'],
    ['an import', "import 'node:fs'; export default 1;", 'the bundle imports "node:fs"'],
    ['something that is no task', 'export default 42;', 'the default export is 42'],
  ])('%s is PLUGIN_INVALID', async (_, code, message) => {
    const line = `//! flowops-plugin ${JSON.stringify(manifestSchema.parse({ name: 'test.plugin', version: '1.0.0' }))}\n`;
    expect(await w.run(line + code)).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringContaining(message),
    });
  });

  test.each([
    ['export default {', 'Unexpected end of input', '2:17'],
    ['export default {\n  a: 1,\n  b: = 2,\n};', "Unexpected token '='", '4:6'],
    ["const ä = 'é'; let a; let a; export default 1;", "Identifier 'a' has already been declared", '2:27'],
    ['export { missing as default };', "Export 'missing' is not defined in module", '2:10'],
    ['await 1;\nimport.meta = 2; export default 1;', 'Invalid left-hand side in assignment', '3:1'],
  ])('%j is PLUGIN_INVALID, and the place in the bundle is told', async (code, problem, place) => {
    const line = `//! flowops-plugin ${JSON.stringify(manifestSchema.parse({ name: 'test.plugin', version: '1.0.0' }))}\n`;
    expect(await w.run(line + code)).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: `the bundle is not a JavaScript module: ${problem} (test.plugin.js:${place})`,
    });
  });

  test('code that declares something else than its first line is PLUGIN_INVALID and the field is named', async () => {
    const manifest = manifestSchema.parse({ name: 'test.plugin', version: '1.0.0' });
    const other = moduleOf('return {};', { ...manifest, permissions: { net: ['a.example:443'], secrets: [] } });
    const done = await w.run(`//! flowops-plugin ${JSON.stringify(manifest)}\n${other}`);
    expect(done).toMatchObject({ code: 'PLUGIN_INVALID', message: expect.stringContaining('permissions.net[0]') });
  });

  test('whether a declaration is known already is not asked of an object that a plugin can change', async () => {
    const prologue = `Object.defineProperty(Object.prototype, 'knownManifestJson', { get() { globalThis.isAsked = true; return '{}'; } });`;
    const source = bundleOf('return { o: `${globalThis.isAsked}` };', { prologue, outputs: text });
    for (const _ of [1, 2]) expect((await w.run(source)).outputs).toEqual({ o: 'undefined' });
  });

  test('bytes that are no bundle are PLUGIN_INVALID', async () => {
    expect(await w.run('export default 1')).toMatchObject({ code: 'PLUGIN_INVALID' });
    expect(await w.run(Buffer.from([0x50, 0x4b, 3, 4, 0]))).toMatchObject({ message: expect.stringContaining('JAR') });
    expect(await w.run(Buffer.from([0xff, 0xfe, 0, 1]))).toMatchObject({ message: expect.stringContaining('UTF-8') });
  });
}
