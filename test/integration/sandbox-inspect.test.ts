/** `flowops sandbox run --inspect` with a debugger that speaks the DevTools protocol as Chrome does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startHostProcess } from '@flowops/proto/host-process.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { afterEach, beforeEach, expect, it } from 'vitest';
import WebSocket from 'ws';
import { z } from 'zod';
import { bundleOf } from '../support/worker-host.ts';

const BIN = path.resolve(import.meta.dirname, '../../bin/flowops.mjs');
const BODY = `  const first = 20;
  const second = first + inputs.n;
  console.log('second is ' + second);
  return { sum: second };`;
const BUNDLE = bundleOf(BODY, {
  name: 'test.debugged',
  inputs: { n: { type: 'integer', required: true } },
  outputs: { sum: { type: 'integer' } },
});

const messageSchema = z.looseObject({
  id: z.number().optional(),
  method: z.string().optional(),
  params: z.looseObject({}).optional(),
  result: z.looseObject({}).optional(),
  error: z.looseObject({ message: z.string() }).optional(),
});
type Message = z.output<typeof messageSchema>;

/** Commands with their answers, and events as they come. */
class DevTools {
  readonly events: Message[] = [];
  readonly #socket: WebSocket;
  readonly #answers = new Map<number, (message: Message) => void>();
  #waiters: { method: string; resolve: (message: Message) => void }[] = [];
  #nextId = 1;

  constructor(url: string) {
    this.#socket = new WebSocket(url);
    this.#socket.on('message', (data) => this.#take(messageSchema.parse(JSON.parse(String(data)))));
  }

  async open(): Promise<void> {
    await once(this.#socket, 'open');
  }

  closed(): Promise<unknown> {
    return once(this.#socket, 'close');
  }

  close(): void {
    this.#socket.close();
  }

  send(method: string, params: object = {}): Promise<Message> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#answers.set(id, resolve);
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  event(method: string): Promise<Message> {
    const at = this.events.findIndex((message) => message.method === method);
    if (at >= 0) return Promise.resolve(this.events.splice(at, 1)[0] ?? {});
    return new Promise((resolve) => this.#waiters.push({ method, resolve }));
  }

  #take(message: Message): void {
    if (message.id !== undefined) {
      this.#answers.get(message.id)?.(message);
      return;
    }
    const waiter = this.#waiters.find(({ method }) => method === message.method);
    if (waiter === undefined) this.events.push(message);
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
    waiter?.resolve(message);
  }
}

const framesSchema = z.object({
  callFrames: z
    .array(
      z.looseObject({ callFrameId: z.string(), url: z.string(), location: z.looseObject({ lineNumber: z.number() }) }),
    )
    .min(1),
});

function topFrame(paused: Message) {
  const [frame] = framesSchema.parse(paused.params).callFrames;
  if (frame === undefined) throw new Error('paused nowhere');
  return frame;
}

let folder: string;
let child: ChildProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'flowops-inspect-'));
});
afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await rm(folder, { recursive: true, force: true });
});

interface Debugged {
  readonly url: string;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<number | null>;
}

async function startDebugged(...args: string[]): Promise<Debugged> {
  const file = path.join(folder, 'debugged.js');
  await writeFile(file, BUNDLE);
  const program = spawn(process.execPath, [BIN, 'sandbox', 'run', file, '--input', 'n=22', '--inspect', ...args], {
    env: { PATH: process.env.PATH, HOME: folder, FLOWOPS_HOME: path.join(folder, 'home') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child = program;
  let stdout = '';
  let stderr = '';
  const url = Promise.withResolvers<string>();
  program.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  program.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    const found = /ws:\/\/127\.0\.0\.1:\d+\/[0-9a-f-]{36}\n/.exec(stderr)?.[0];
    if (found !== undefined) url.resolve(found.trim());
  });
  const ended = new Promise<number | null>((resolve) => program.once('close', (code) => resolve(code)));
  void ended.then(() => url.reject(new Error(`it ended: ${stderr}`)));
  return { url: await url.promise, stdout: () => stdout, stderr: () => stderr, ended };
}

it('waits for the debugger, stops at the first line, honours breakpoints and evaluates in the plugin', async () => {
  const debugged = await startDebugged('--json');
  const tools = new DevTools(debugged.url);
  await tools.open();
  await tools.send('Runtime.enable');
  await tools.send('Debugger.enable');
  const lines = BUNDLE.split('\n');
  const lineNumber = lines.findIndex((line) => line.includes('console.log'));
  const set = await tools.send('Debugger.setBreakpointByUrl', { url: 'test.debugged.js', lineNumber });
  expect(set.error).toBeUndefined();
  await tools.send('Runtime.runIfWaitingForDebugger');

  const first = topFrame(await tools.event('Debugger.paused'));
  expect(lines.slice(0, first.location.lineNumber).every((line) => line === '' || line.startsWith('//'))).toBe(true);
  await tools.send('Debugger.resume');
  const second = topFrame(await tools.event('Debugger.paused'));
  expect(second.location.lineNumber).toBe(lineNumber);
  const { callFrameId } = second;
  const value = await tools.send('Debugger.evaluateOnCallFrame', { callFrameId, expression: 'second' });
  expect(value.result).toMatchObject({ result: { type: 'number', value: 42 } });
  const process = await tools.send('Debugger.evaluateOnCallFrame', { callFrameId, expression: 'typeof process' });
  expect(process.result).toMatchObject({ result: { value: 'undefined' } });
  await tools.send('Debugger.setVariableValue', {
    scopeNumber: 0,
    variableName: 'second',
    newValue: { value: 7 },
    callFrameId,
  });
  const closed = tools.closed();
  await tools.send('Debugger.resume');
  await closed;
  expect(await debugged.ended).toBe(0);
  const report = z.looseObject({ status: z.string(), outputs: z.unknown(), receipt: z.unknown() });
  expect(report.parse(JSON.parse(debugged.stdout()))).toMatchObject({
    status: 'COMPLETED',
    outputs: { sum: 7 },
    receipt: { limits: { wallMs: 86_400_000 } },
  });
});

it('goes on when the debugger leaves, and takes another one', async () => {
  const debugged = await startDebugged();
  const curious = new DevTools(debugged.url);
  await curious.open();
  await curious.send('Debugger.enable');
  const second = new WebSocket(debugged.url);
  const refused = once(second, 'error');
  await refused; // one at a time
  const left = curious.closed();
  curious.close();
  await left;
  const tools = new DevTools(debugged.url);
  await tools.open();
  await tools.send('Debugger.enable');
  await tools.send('Runtime.runIfWaitingForDebugger');
  await tools.event('Debugger.paused');
  tools.close();
  expect(await debugged.ended).toBe(0);
  expect(debugged.stdout()).toContain('sum = 42');
  expect(debugged.stderr()).toContain('wall and CPU limits are lifted');
});

it('lists its target for tools on this machine, and for no web page', async () => {
  const debugged = await startDebugged();
  const list = debugged.url.replace(/^ws/, 'http').replace(/\/[^/]+$/, '/json/list');
  const targets: unknown = await (await fetch(list)).json();
  expect(targets).toMatchObject([{ webSocketDebuggerUrl: debugged.url, type: 'node' }]);
  expect((await fetch(list, { headers: { origin: 'https://example.com' } })).status).toBe(403);
  const fromPage = new WebSocket(debugged.url, { origin: 'https://example.com' });
  await once(fromPage, 'error');
  child?.kill('SIGINT');
  expect(await debugged.ended).toBe(130);
});

it('ends a plugin that stands at a breakpoint when it is interrupted', async () => {
  const debugged = await startDebugged();
  const tools = new DevTools(debugged.url);
  await tools.open();
  await tools.send('Debugger.enable');
  await tools.send('Runtime.runIfWaitingForDebugger');
  await tools.event('Debugger.paused');
  child?.kill('SIGINT');
  // Let go from its breakpoint it may come to its end within the grace time.
  expect([0, 130]).toContain(await debugged.ended);
});

it('is refused by a host that was not started for it, whoever asks', async () => {
  for (const role of ['engine', 'cli'] as const) {
    const started = await startHostProcess({
      role,
      instance: 'test',
      env: { PATH: process.env.PATH, LOG_LEVEL: 'error', FLOWOPS_HOME: folder },
      policy: { kind: 'developer' },
      // Only a command can have it: an engine that asks for it does not get it.
      ...(role === 'engine' ? { allowDebug: true } : {}),
    });
    if (!started.ok) throw new Error(started.message);
    const bytes = Buffer.from(BUNDLE);
    const digest = digestOf(bytes);
    const attempt = started.host.run(
      {
        token: '00'.repeat(16),
        purpose: 'run',
        flowId: 'f',
        runId: role,
        stepId: 's',
        attempt: 1,
        epoch: 1,
        pluginId: 'test.debugged',
        pluginVersion: '1.0.0',
        digest,
        inputsJson: '{"n":1}',
        idempotencyKey: 'k',
        debug: true,
        bundle: async () => ({ ok: true, bundle: { digest, bytes } }),
      },
      {},
    );
    expect(await attempt.outcome).toMatchObject({ status: 'FAILED', code: 'POLICY_DENIED' });
    await started.host.close();
  }
});
