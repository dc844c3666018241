/**
 * The example service with the engine inside (engine/examples/service) as somebody runs it: in a folder of its own, over
 * HTTP, killed in the middle of a run and started again.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { statusEventSchema } from '@flowops/proto/statuses.ts';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { scratchFolder } from '../services/scratch.ts';
import { bareEnvironment, ROOT } from '../support/clone.ts';
import { linkCli } from '../support/linked-cli.ts';

interface Service {
  readonly url: string;
  readonly child: ChildProcess;
  /** What it wrote on stderr so far. */
  readonly errors: () => string;
  readonly exited: Promise<number | null>;
}

const startedSchema = z.object({ runId: z.string() });
const resultSchema = z.object({ status: z.string(), outputs: z.record(z.string(), z.json()).optional() });

let folder: string;
const services: Service[] = [];
beforeAll(async () => {
  folder = scratchFolder();
  cpSync(join(ROOT, 'engine', 'examples', 'service'), folder, {
    recursive: true,
    filter: (path) => !path.endsWith('.flowops'),
  });
  await linkCli({ folder });
});
afterEach(async () => {
  for (const { child, exited } of services.splice(0)) {
    child.kill('SIGKILL');
    await exited;
  }
});

async function startService(): Promise<Service> {
  const env = { ...bareEnvironment(dirname(process.execPath)), PORT: '0', HOME_FOLDER: join(folder, 'home') };
  const child = spawn(process.execPath, ['server.ts'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  const address = new Promise<string>((resolve) => createInterface({ input: child.stdout }).once('line', resolve));
  const url = await Promise.race([address, exited.then(() => `it ended: ${errors}`)]);
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
  const service = { url, child, errors: () => errors, exited };
  services.push(service);
  return service;
}

async function startRun(url: string, body: unknown): Promise<string> {
  const response = await fetch(`${url}runs`, { method: 'POST', body: JSON.stringify(body) });
  expect(response.status).toBe(202);
  return startedSchema.parse(await response.json()).runId;
}

interface Told {
  readonly id: string;
  readonly event: string;
  readonly data: unknown;
}

/** The server-sent events of a run, as a browser reads them; ends when the connection does, however that happens. */
async function* eventsOf(url: string, runId: string, lastSeen?: string): AsyncGenerator<Told> {
  const headers = lastSeen === undefined ? {} : { 'last-event-id': lastSeen };
  const { body } = await fetch(`${url}runs/${runId}/events`, { headers });
  let text = '';
  try {
    for await (const chunk of body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk;
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        yield readTold(text.slice(0, end));
        text = text.slice(end + 2);
      }
    }
  } catch {
    // The service was killed.
  }
}

async function collect(events: AsyncIterable<Told>): Promise<Told[]> {
  const told: Told[] = [];
  for await (const next of events) told.push(next);
  return told;
}

function readTold(message: string): Told {
  const fields = new Map(
    message.split('\n').map((line) => [line.split(': ', 1)[0], line.slice(line.indexOf(': ') + 2)]),
  );
  const data: unknown = JSON.parse(fields.get('data') ?? 'null');
  return { id: fields.get('id') ?? '', event: fields.get('event') ?? 'message', data };
}

function storyOf(told: readonly Told[]): string[] {
  return told
    .filter(({ event }) => event === 'message')
    .map(({ data }) => statusEventSchema.parse(data))
    .map((event) => (event.eventType === 'STEP_STATUS' ? `${event.stepId} ${event.status}` : event.status));
}

it('runs a flow for its page and tells what happens, then what came out', async () => {
  const { url, child, errors, exited } = await startService();
  expect(await (await fetch(url)).text()).toContain('How long is it?');
  const runId = await startRun(url, { text: 'one two three', delay: 1 });
  const told = await collect(eventsOf(url, runId));
  const story = ['RUNNING', 'count RUNNING', 'count COMPLETED', 'judge RUNNING', 'judge COMPLETED', 'COMPLETED'];
  expect(storyOf(told)).toEqual(story);
  expect(told.at(-1)).toMatchObject({
    event: 'result',
    data: { status: 'COMPLETED', outputs: { count: { words: 3 }, judge: { verdict: 'a note' } } },
  });
  expect(await (await fetch(`${url}runs/${runId}`)).json()).toEqual(told.at(-1)?.data);
  child.kill('SIGTERM');
  expect(await exited).toBe(0);
  expect(errors()).toBe('');
});

it('goes on with a run that was under way when the service was killed, and the page with it', async () => {
  const first = await startService();
  const runId = await startRun(first.url, { text: 'one two three four five', delay: 300 });
  const before: Told[] = [];
  for await (const told of eventsOf(first.url, runId)) {
    before.push(told);
    if (storyOf(before).includes('count RUNNING')) first.child.kill('SIGKILL');
  }
  await first.exited;
  const second = await startService();
  const after = await collect(eventsOf(second.url, runId, before.at(-1)?.id));
  const ids = [...before, ...after].flatMap(({ id }) => (id === '' ? [] : [Number(id)]));
  expect(ids).toEqual(ids.map((_, index) => index + 1));
  expect(storyOf(after).at(-1)).toBe('COMPLETED');
  expect(resultSchema.parse(after.at(-1)?.data).outputs?.judge).toEqual({ verdict: 'a letter' });
  expect(second.errors()).toBe('');
});

it('stops a run, and answers what cannot be with the code of the error', async () => {
  const { url } = await startService();
  const runId = await startRun(url, { text: 'a '.repeat(200), delay: 1_000 });
  const told: Told[] = [];
  for await (const next of eventsOf(url, runId)) {
    told.push(next);
    if (storyOf(told).at(-1) === 'count RUNNING') await fetch(`${url}runs/${runId}/stop`, { method: 'POST' });
  }
  expect(storyOf(told).at(-1)).toBe('STOPPED');
  expect(storyOf(told).slice(-3, -1).sort()).toEqual(['count CANCELLED', 'judge CANCELLED']);
  const asked = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(url + path, init);
    return [response.status, await response.json()];
  };
  expect(await asked('runs/nobody')).toEqual([404, expect.objectContaining({ code: 'RUN_UNKNOWN' })]);
  expect(await asked('runs', { method: 'POST', body: '{}' })).toEqual([
    400,
    { code: 'INPUT_INVALID', error: expect.stringContaining('input text (string) is required') },
  ]);
  expect(await asked('runs', { method: 'POST', body: '{' })).toEqual([400, expect.anything()]);
  expect(await asked('elsewhere')).toEqual([404, expect.anything()]);
});
