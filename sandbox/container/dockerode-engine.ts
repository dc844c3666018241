/**
 * DockerEngine over dockerode. Every call has a time limit and ends with its signal; what a daemon answers becomes a
 * value (docker-answers.ts). Connections are not kept between calls, so that a daemon that was started again is never
 * met through a socket of its former life; the output of a container keeps one for as long as it runs.
 *
 * Calls go through dockerode's own modem (`dial`): half of its methods take no AbortSignal. It is loaded with the first
 * call: it brings ssh and gRPC clients that a host without containers never needs.
 */
import { Agent } from 'node:http';
import { Duplex, Readable } from 'node:stream';
import { inspect } from 'node:util';
import { messageOf } from '@flowops/proto/errors.ts';
import { AttachedStream } from './attached-stream.ts';
import { readContainer, readCreated, readDaemon, readFailure, readImage, readList, readUse } from './docker-answers.ts';
import type { DockerAnswer, DockerEngine } from './docker-engine.ts';
import { usualSocket } from './usual-socket.ts';

/** A daemon that has many things to do at once answers within seconds; one that does not by then counts as gone. */
const CALL_LIMIT_MS = 15_000;
/** Making, starting and removing write to disk and run programs: slower on a machine under load. */
const SLOW_CALL_LIMIT_MS = 60_000;
/** Asked in the middle of a step: better no figure than a late one. */
const USE_LIMIT_MS = 3_000;
const FINE: Readonly<Record<number, true>> = { 101: true, 200: true, 201: true, 204: true };

/** What is used of dockerode: https://github.com/apocas/docker-modem, lib/modem.js */
interface Modem {
  dial(options: DialOptions, done: (thrown: unknown, answer: unknown) => void): void;
}

interface DialOptions {
  /** Ends in `?`, for the query. */
  readonly path: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly options: { _query: Readonly<Record<string, unknown>>; _body: unknown };
  readonly statusCodes: Readonly<Record<number, true>>;
  readonly abortSignal: AbortSignal;
  readonly isStream?: boolean;
  readonly hijack?: boolean;
  readonly openStdin?: boolean;
}

interface Request extends Pick<DialOptions, 'method' | 'isStream' | 'hijack' | 'openStdin'> {
  /** Below the root of the API. */
  readonly path: string;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: Readonly<Record<string, unknown>>;
  readonly limitMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * @param dockerHost as DOCKER_HOST is written: unix:///path, npipe:////./pipe/name, tcp://host:port; undefined = the
 *   usual place. For tcp the certificates come from DOCKER_CERT_PATH, as with Docker's own tools.
 */
export function dockerEngine(dockerHost: string | undefined): DockerEngine {
  let modem: Promise<Modem> | undefined;

  const call = async <T>(request: Request, read: (answer: unknown) => T): Promise<DockerAnswer<T>> => {
    const { signal, limitMs = CALL_LIMIT_MS } = request;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new Error(`no answer within ${limitMs} ms`)), limitMs);
    try {
      modem ??= connect(dockerHost);
      const abortSignal = signal === undefined ? limit.signal : AbortSignal.any([limit.signal, signal]);
      abortSignal.throwIfAborted();
      return { ok: true, value: read(await dial(await modem, request, abortSignal)) };
    } catch (thrown) {
      const cause: unknown = limit.signal.aborted ? limit.signal.reason : thrown;
      return { ok: false, failure: readFailure(cause, signal?.aborted === true) };
    } finally {
      clearTimeout(timer);
    }
  };
  const nothing = (): void => {};

  return {
    daemon: (signal) => call({ method: 'GET', path: '/info', signal }, readDaemon),
    image: (name, signal) => call({ method: 'GET', path: `/images/${encodeName(name)}/json`, signal }, readImage),
    create: ({ name, body }, signal) =>
      call(
        { method: 'POST', path: '/containers/create', query: { name }, body, signal, limitMs: SLOW_CALL_LIMIT_MS },
        readCreated,
      ),
    attach: (id, signal) => {
      const query = { stream: 1, stdin: 1, stdout: 1, stderr: 1 };
      const path = `/containers/${id}/attach`;
      // The body only makes Node send the request's header: Docker drops what comes with it. Stdin begins after its answer.
      const body = query;
      const request = {
        method: 'POST',
        path,
        query,
        body,
        signal,
        isStream: true,
        hijack: true,
        openStdin: true,
      } as const;
      return call(request, (answer) => {
        if (!(answer instanceof Duplex)) throw new Error('Docker gave no connection to the container');
        const stream = new AttachedStream(answer);
        return { stream, lastWords: () => stream.stderrTail };
      });
    },
    start: (id, signal) =>
      call({ method: 'POST', path: `/containers/${id}/start`, signal, limitMs: SLOW_CALL_LIMIT_MS }, nothing),
    inspect: (id, signal) => call({ method: 'GET', path: `/containers/${id}/json`, signal }, readContainer),
    use: (id, signal) => {
      const query = { stream: false, 'one-shot': true };
      return call({ method: 'GET', path: `/containers/${id}/stats`, query, signal, limitMs: USE_LIMIT_MS }, readUse);
    },
    resize: (id, memoryBytes, signal) => {
      const body = { Memory: memoryBytes, MemorySwap: memoryBytes };
      return call({ method: 'POST', path: `/containers/${id}/update`, body, signal }, nothing);
    },
    rename: (id, name, signal) =>
      call({ method: 'POST', path: `/containers/${id}/rename`, query: { name }, signal }, nothing),
    kill: (id, signal) => call({ method: 'POST', path: `/containers/${id}/kill`, signal }, nothing),
    unpause: (id, signal) => call({ method: 'POST', path: `/containers/${id}/unpause`, signal }, nothing),
    remove: (id, signal) => {
      const query = { force: true, v: true };
      return call({ method: 'DELETE', path: `/containers/${id}`, query, signal, limitMs: SLOW_CALL_LIMIT_MS }, nothing);
    },
    list: (label, signal) => {
      const query = { all: true, filters: { label: [label] } };
      return call({ method: 'GET', path: '/containers/json', query, signal }, readList);
    },
    watch: async (signal) => {
      const query = { filters: { type: ['daemon'] } };
      const events = await call({ method: 'GET', path: '/events', query, signal, isStream: true }, (answer) => answer);
      if (!events.ok) return events.failure;
      const problem = await endOf(events.value, signal);
      return signal.aborted ? { kind: 'aborted', problem } : { kind: 'unreachable', problem };
    },
  };
}

/** The modem describes every request to its debug log, switched off or not: with all sockets of an agent, milliseconds. */
class PlainAgent extends Agent {
  [inspect.custom](): string {
    return 'Agent';
  }
}

async function connect(dockerHost: string | undefined): Promise<Modem> {
  const { default: Docker } = await import('dockerode');
  // Left to itself, the modem looks into a home without which it ends the process.
  const path = dockerHost === undefined ? usualSocket() : /^(?:unix|npipe):\/\/(.+)$/.exec(dockerHost)?.[1];
  const agent = new PlainAgent({ keepAlive: false });
  // Other addresses are read by dockerode itself, certificates included; their connections are its own.
  return new Docker(path === undefined ? {} : { socketPath: path, ...{ agent } }).modem;
}

function dial(modem: Modem, request: Request, abortSignal: AbortSignal): Promise<unknown> {
  const { method, path, query = {}, body = {}, isStream = false, hijack = false, openStdin = false } = request;
  const options = { _query: query, _body: body };
  return new Promise((resolve, reject) => {
    modem.dial(
      { path: `${path}?`, method, options, statusCodes: FINE, abortSignal, isStream, hijack, openStdin },
      (thrown, answer) => {
        if (thrown) reject(thrown);
        else resolve(answer);
      },
    );
  });
}

/** Resolves with why the stream ended. */
async function endOf(stream: unknown, signal: AbortSignal): Promise<string> {
  if (!(stream instanceof Readable)) return 'Docker tells no events';
  const end = Promise.withResolvers<string>();
  stream.on('error', (error: Error) => end.resolve(messageOf(error)));
  stream.on('end', () => end.resolve('it ended the connection'));
  stream.on('close', () => end.resolve('the connection was lost'));
  signal.addEventListener('abort', () => end.resolve('the call was given up'), { once: true });
  stream.resume();
  const problem = await end.promise;
  stream.destroy();
  return problem;
}

/** The slashes of a name are part of the path. */
function encodeName(name: string): string {
  return name.split('/').map(encodeURIComponent).join('/');
}
