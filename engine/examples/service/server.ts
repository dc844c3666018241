/**
 * A service with the engine inside: its page starts a run of flow.yaml and shows what happens, as it happens. A browser
 * that lost touch says which event it saw last and is told the rest; a run that a former process left is taken up.
 *
 *   GET  /                   the page
 *   POST /runs               {"text": "…"}, starts a run; answers {"runId"}
 *   GET  /runs/ID            {"status", "outputs", "error"}
 *   GET  /runs/ID/events     server-sent events
 *   POST /runs/ID/stop
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { createEngine, FlowopsError, type FlowRun, readFlow } from '@flowops/cli/engine';

const MAX_BODY_BYTES = 64 * 1024;
const PATH = /^\/runs\/([A-Za-z0-9._-]{1,128})(?:\/(events|stop))?$/;
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

const flow = await readFlow(here('flow.yaml'));
const engine = await createEngine({
  home: process.env.HOME_FOLDER ?? here('.flowops'),
  plugins: here('plugins'),
  policy: 'developer', // plugins of your own; a file for what others wrote
});
for (const { runId } of await engine.interruptedRuns()) {
  await engine.resume(runId).catch((thrown: unknown) => console.error(`${runId} is left as it is:`, thrown));
}

const ending = new AbortController();
const server = createServer((request, response) => {
  answer(request, response).catch((thrown: unknown) => fail(response, thrown));
});
server.listen(Number(process.env.PORT ?? 8090), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`http://127.0.0.1:${address?.port}/`);
});
process.once('SIGTERM', () => void close());
process.once('SIGINT', () => void close());

/** Steps that run may finish; what has not ended then is taken up at the next start. */
async function close(): Promise<void> {
  ending.abort();
  server.close();
  await engine.close({ drainMs: 5_000 });
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = '/' } = request;
  if (method === 'GET' && url === '/') {
    response.setHeader('content-type', 'text/html; charset=utf-8').end(await readFile(here('page.html')));
  } else if (method === 'POST' && url === '/runs') {
    const run = await engine.start(flow, { inputs: await readBody(request) });
    reply(response, 202, { runId: run.runId });
  } else {
    const [, runId, part] = PATH.exec(url) ?? [];
    if (runId === undefined) {
      reply(response, 404, { error: 'there is no such page' });
      return;
    }
    const run = await engine.run(runId);
    if (method === 'GET' && part === 'events') await sendEvents(run, request, response);
    else if (method === 'POST' && part === 'stop') {
      await run.stop('asked for by the page');
      reply(response, 202, { runId });
    } else reply(response, 200, await describe(run));
  }
}

async function describe(run: FlowRun): Promise<object> {
  const status = await run.status();
  const hasEnded = status === 'COMPLETED' || status === 'FAILED' || status === 'STOPPED';
  return hasEnded ? await run.result() : { runId: run.runId, status };
}

/** Each event has its sequence as id; a browser that connects again names the last one it saw. */
async function sendEvents(run: FlowRun, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const seen = Number(request.headers['last-event-id'] ?? 0);
  const left = new AbortController();
  response.once('close', () => left.abort());
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  try {
    for await (const event of run.events({ from: seen + 1, signal: left.signal })) {
      const isTaken = response.write(`id: ${event.sequence}\ndata: ${JSON.stringify(event)}\n\n`);
      if (!isTaken) await once(response, 'drain', { signal: left.signal });
    }
    response.write(`event: result\ndata: ${JSON.stringify(await run.result())}\n\n`);
  } catch (thrown) {
    if (!left.signal.aborted && !ending.signal.aborted) throw thrown;
  }
  response.end();
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new FlowopsError('INPUT_INVALID', 'the text is too long');
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new FlowopsError('INPUT_INVALID', 'the body is not JSON', { cause });
  }
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** An error with a code says whose it is; anything else is a bug of this file. */
function fail(response: ServerResponse, thrown: unknown): void {
  if (response.headersSent) {
    response.destroy();
  } else if (thrown instanceof FlowopsError) {
    const { code, message, retryable } = thrown;
    const status = code === 'RUN_UNKNOWN' ? 404 : retryable || code === 'CANCELLED' ? 503 : 400;
    reply(response, status, { error: message, code });
  } else {
    console.error(thrown);
    reply(response, 500, { error: 'this should not have happened' });
  }
}
