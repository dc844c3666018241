/**
 * `context.fetch` of a task in a test: what the manifest does not ask for is refused as the sandbox would, the rest is
 * handed to the test's own function. Redirects are followed here, so that each place is looked at.
 *
 * A private place (this machine, its network) is known by its text only: nothing is resolved in a test.
 */
import { BlockList, isIP } from 'node:net';
import { HOST_HEADER_PREFIX, HOST_HEADERS } from '@flowops/proto/host-call-limits.ts';
import { NetGrants, readTarget, type Target } from '@flowops/proto/net-grants.ts';
import { callError } from './call-error.ts';
import { outsideOfScope } from './guest-scope.ts';

/**
 * What the network is in a test.
 *
 * @example
 * const fetch: TestFetch = async (request) => Response.json({ method: request.method, sent: await request.text() });
 */
export type TestFetch = (request: Request) => Response | Promise<Response>;

export interface TestFetchOptions {
  readonly pluginName: string;
  /** What the manifest asks for. */
  readonly net: readonly string[];
  readonly fetch: TestFetch | undefined;
  /** The step is stopped: what is under way is given up. */
  readonly stop: AbortSignal;
}

/** As many as the sandbox follows. */
const MAX_REDIRECTS = 20;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const ABOUT_BODY = ['content-type', 'content-encoding', 'content-language', 'content-location'];
const CREDENTIALS = ['authorization', 'cookie'];
/** Names that no public server answers for (RFC 6761, 6762, 8375), and names without a dot. */
const LOCAL_NAME = /(?:^|\.)(?:localhost|local|internal|intranet|lan|home\.arpa)$|^[^.:]+$/;
const PRIVATE = new BlockList();
for (const [range, bits] of [['10.0.0.0', 8] as const, ['127.0.0.0', 8] as const, ['172.16.0.0', 12] as const]) {
  PRIVATE.addSubnet(range, bits, 'ipv4');
}
PRIVATE.addSubnet('192.168.0.0', 16, 'ipv4');
PRIVATE.addSubnet('fc00::', 7, 'ipv6');
PRIVATE.addAddress('::1', 'ipv6');

export function createTestFetch(options: TestFetchOptions): typeof globalThis.fetch {
  const grants = new NetGrants(options.net);
  return async (input, init) => {
    options.stop.throwIfAborted();
    let request = new Request(input, init);
    let from: string | undefined;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const target = allowedTarget(request, from, grants, options);
      const answer = await send(request, options);
      const location = REDIRECTS.has(answer.status) ? answer.headers.get('location') : null;
      if (location === null || request.redirect === 'manual') return withOrigin(answer, request.url, redirects > 0);
      if (request.redirect === 'error') {
        throw new TypeError(`${target.key} answered with a redirect, and the plugin asked for none`);
      }
      request = redirected(request, answer.status, new URL(location, request.url));
      from = target.key;
    }
    throw new TypeError(`${from} redirects more than ${MAX_REDIRECTS} times`);
  };
}

function allowedTarget(
  request: Request,
  from: string | undefined,
  grants: NetGrants,
  { pluginName }: TestFetchOptions,
): Target {
  const read = readTarget(request.url);
  if (!read.ok) {
    throw callError('fetch', read.isUrl ? 'POLICY_DENIED' : 'PLUGIN_ERROR', `${pluginName}: ${read.problem}`);
  }
  const { target } = read;
  const grant = grants.find(target);
  const isPrivate = isPrivatePlace(target.host);
  const line = `${isPrivate ? 'private:' : ''}${target.key}`;
  const toAllow = `To allow it, in the plugin: permissions: { net: ["${line}"] }`;
  if (grant === undefined) {
    const what = from === undefined ? 'asked for' : `was redirected by ${from} to`;
    const asked = `${pluginName} ${what} ${target.key}, and its permissions do not name that place`;
    throw callError('fetch', 'POLICY_DENIED', `${asked}. ${toAllow}`);
  }
  if (isPrivate && !grant.isPrivate) {
    const asked = `${pluginName} asked for ${target.key}, which is this machine or its own network`;
    throw callError('fetch', 'POLICY_DENIED', `${asked}: such a place is named with private: before it. ${toAllow}`);
  }
  return target;
}

async function send(request: Request, { fetch, stop }: TestFetchOptions): Promise<Response> {
  if (fetch === undefined) {
    throw new TypeError(
      `the test gave no fetch, so nothing answers ${request.method} ${request.url}. Give one that answers: ` +
        'runTask(Task, { fetch: (request) => Response.json({ … }) }), or fetch: globalThis.fetch for the real network',
    );
  }
  for (const name of [...request.headers.keys()]) {
    if (isHostHeader(name)) request.headers.delete(name);
  }
  const answer: unknown = await unlessAborted(
    AbortSignal.any([request.signal, stop]),
    // Redirects are followed here, not by whoever answers.
    outsideOfScope(async () => fetch(new Request(request.clone(), { redirect: 'manual' }))),
  );
  if (answer instanceof Response) return answer;
  throw new TypeError(
    `the fetch that the test gave answered ${request.method} ${request.url} with something else than a Response`,
  );
}

/** The next request after a redirect. https://fetch.spec.whatwg.org/#http-redirect-fetch */
function redirected(request: Request, status: number, url: URL): Request {
  const isPost = request.method === 'POST' && (status === 301 || status === 302);
  const becomesGet = isPost || (status === 303 && request.method !== 'GET' && request.method !== 'HEAD');
  const headers = new Headers(request.headers);
  if (becomesGet) for (const name of ABOUT_BODY) headers.delete(name);
  if (url.origin !== new URL(request.url).origin) for (const name of CREDENTIALS) headers.delete(name);
  const { signal, redirect } = request;
  if (becomesGet) return new Request(url, { method: 'GET', headers, signal, redirect });
  // Only a clone was handed out, so the body is there to be sent again.
  const { method, body } = request;
  return new Request(url, {
    method,
    headers,
    signal,
    redirect,
    ...(body === null ? {} : { body, duplex: 'half' as const }),
  });
}

/** A Response that a test made knows no URL; one in the sandbox has no stream. */
function withOrigin(answer: Response, url: string, isRedirected: boolean): Response {
  const { href } = new URL(url);
  Object.defineProperty(answer, 'url', { value: href.split('#', 1)[0], configurable: true });
  Object.defineProperty(answer, 'redirected', { value: isRedirected, configurable: true });
  Object.defineProperty(answer, 'body', { value: null, configurable: true });
  return answer;
}

function unlessAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

function isHostHeader(name: string): boolean {
  return name.startsWith(HOST_HEADER_PREFIX) || HOST_HEADERS.some((header) => header === name);
}

function isPrivatePlace(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? LOCAL_NAME.test(host) : PRIVATE.check(host, family === 6 ? 'ipv6' : 'ipv4');
}
