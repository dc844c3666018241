/**
 * One HTTP/1.1 request on one connection and its answer: head first, the body only when it is asked for, counted as it
 * comes and given up at its cap. Knows nothing of grants.
 */
import { type IncomingMessage, request as requestHttp } from 'node:http';
import type { Socket } from 'node:net';
import { MAX_HEADER_LENGTH, MAX_HEADERS } from '@flowops/proto/host-call-limits.ts';
import type { Target } from '@flowops/proto/net-grants.ts';
import { ACCEPTED_CODINGS, decodeBody } from './decode-body.ts';
import { networkProblem } from './network-error.ts';
import { type HeaderList, joinHeaders } from './request-headers.ts';

/** Of all headers of an answer together: four times what most servers send at most. */
const MAX_HEAD_BYTES = 64 * 1024;
/** Some services answer nobody who does not say who they are. */
const USER_AGENT = 'flowops';
const NO_BODY_STATUSES: ReadonlySet<number> = new Set([101, 204, 205, 304]);

export interface WireRequest {
  readonly target: Target;
  readonly method: string;
  /** Of the plugin, without what is ours. */
  readonly headers: HeaderList;
  readonly body: Buffer | null;
}

export interface AnswerHead {
  readonly status: number;
  readonly statusText: string;
  readonly headers: HeaderList;
  readonly headBytes: number;
}

export type ReadBody = { readonly ok: true; readonly bytes: Buffer } | { readonly ok: false; readonly problem: string };

export interface Answer {
  readonly head: AnswerHead;
  /**
   * @param onBytes is told every piece as it is kept; an answer other than undefined gives the body up with that problem.
   */
  readBody(onBytes: (bytes: number) => string | undefined): Promise<ReadBody>;
  /** The rest is not wanted. */
  discard(): void;
}

export type Exchanged =
  | { readonly ok: true; readonly answer: Answer; readonly sentBytes: number }
  | { readonly ok: false; readonly problem: string; readonly sentBytes: number };

/** Never rejects. The socket is used up; it ends when the answer was read or discarded. */
export async function exchange(socket: Socket, request: WireRequest): Promise<Exchanged> {
  const headers = wireHeaders(request);
  const sentBytes = headLength(request, headers) + (request.body?.length ?? 0);
  try {
    const response = await send(socket, request, headers);
    const head = readHead(response);
    if (typeof head === 'string') {
      socket.destroy();
      return { ok: false, problem: head, sentBytes };
    }
    return { ok: true, answer: answerOf(response, head, request.method, socket), sentBytes };
  } catch (thrown) {
    socket.destroy();
    return { ok: false, problem: networkProblem(thrown), sentBytes };
  }
}

function send(socket: Socket, request: WireRequest, headers: ReadonlyMap<string, string>): Promise<IncomingMessage> {
  const { target, method, body } = request;
  return new Promise((resolve, reject) => {
    const sent = requestHttp({
      createConnection: () => socket,
      method,
      path: `${target.url.pathname}${target.url.search}`,
      headers: Object.fromEntries(headers),
      setHost: false,
      setDefaultHeaders: false,
      maxHeaderSize: MAX_HEAD_BYTES,
      insecureHTTPParser: false,
    });
    sent.once('response', resolve);
    sent.once('upgrade', () => reject(new Error('it changed the protocol')));
    sent.on('error', reject);
    sent.end(body ?? undefined);
  });
}

function wireHeaders({ target, method, headers, body }: WireRequest): Map<string, string> {
  const joined = new Map([['host', hostOf(target)], ...joinHeaders(headers)]);
  if (!joined.has('accept')) joined.set('accept', '*/*');
  if (!joined.has('user-agent')) joined.set('user-agent', USER_AGENT);
  joined.set('accept-encoding', ACCEPTED_CODINGS);
  joined.set('connection', 'close');
  if (body !== null) joined.set('content-length', String(body.length));
  else if (method === 'POST' || method === 'PUT') joined.set('content-length', '0');
  return joined;
}

/** `host:port`, without the port where it is the scheme's own. */
function hostOf({ key, url }: Target): string {
  return url.port === '' ? key.slice(0, key.lastIndexOf(':')) : key;
}

function headLength({ target, method }: WireRequest, headers: ReadonlyMap<string, string>): number {
  let length = `${method} ${target.url.pathname}${target.url.search} HTTP/1.1\r\n\r\n`.length;
  for (const [name, value] of headers) length += `${name}: ${value}\r\n`.length;
  return length;
}

/** The head, or what is wrong with it. */
function readHead({ statusCode = 0, statusMessage = '', rawHeaders }: IncomingMessage): AnswerHead | string {
  const headers: [string, string][] = [];
  let headBytes = `HTTP/1.1 ${statusCode} ${statusMessage}\r\n\r\n`.length;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const value = rawHeaders[at + 1] ?? '';
    headBytes += name.length + value.length + ': \r\n'.length;
    if (value.length > MAX_HEADER_LENGTH || name.length > 256) return 'one of its headers is too long';
    headers.push([name.toLowerCase(), value]);
  }
  if (headers.length > MAX_HEADERS) return `it has more than ${MAX_HEADERS} headers`;
  if (statusCode < 200 || statusCode > 599) return `it has the status ${statusCode}`;
  return { status: statusCode, statusText: statusMessage, headers, headBytes };
}

function answerOf(response: IncomingMessage, head: AnswerHead, method: string, socket: Socket): Answer {
  response.on('error', () => {}); // told to whoever reads the body
  const end = (): void => {
    response.destroy();
    socket.destroy();
  };
  return {
    head,
    discard: end,
    readBody: async (onBytes) => {
      try {
        if (method === 'HEAD' || NO_BODY_STATUSES.has(head.status)) return { ok: true, bytes: Buffer.alloc(0) };
        return await readDecoded(response, onBytes);
      } catch (thrown) {
        return { ok: false, problem: `its body cannot be read: ${networkProblem(thrown)}` };
      } finally {
        end();
      }
    },
  };
}

async function readDecoded(
  response: IncomingMessage,
  onBytes: (bytes: number) => string | undefined,
): Promise<ReadBody> {
  const decoded = decodeBody(response, response.headers['content-encoding'] ?? '');
  if (!decoded.ok) return decoded;
  const chunks: Buffer[] = [];
  for await (const chunk of decoded.body) {
    const bytes: Buffer = chunk;
    const problem = onBytes(bytes.length);
    if (problem !== undefined) return { ok: false, problem };
    chunks.push(bytes);
  }
  return { ok: true, bytes: Buffer.concat(chunks) };
}
