/**
 * One gRPC call as one promise of a tagged union: what a server may do to a caller is an expected outcome here, never
 * an exception. Every call has a deadline and an AbortSignal. Owns no connection and retries nothing.
 */
import type { Client, ClientReadableStream, MethodDefinition, ServiceError } from '@grpc/grpc-js';
import { Metadata, status } from '@grpc/grpc-js';

/** A server's own words are shown to people; longer ones are cut. */
const MAX_DETAILS_CHARS = 400;

export type CallFailure =
  /** The status of the server, or of the connection to it. */
  | { readonly ok: false; readonly kind: 'status'; readonly status: status; readonly details: string }
  /** The answer was longer than the receive limit of the connection. */
  | { readonly ok: false; readonly kind: 'too-large'; readonly details: string }
  /** The answer is no message of the declared type. */
  | { readonly ok: false; readonly kind: 'unreadable'; readonly details: string }
  /** The caller's signal. */
  | { readonly ok: false; readonly kind: 'aborted'; readonly details: string };

export type CallResult<T> = { readonly ok: true; readonly value: T } | CallFailure;

export interface CallBounds {
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

export function callUnary<I, O>(
  client: Client,
  method: MethodDefinition<I, O>,
  request: I,
  bounds: CallBounds,
): Promise<CallResult<O>> {
  return settle(bounds, (done) => {
    const call = client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      parser(method),
      request,
      new Metadata(),
      { deadline: Date.now() + bounds.deadlineMs },
      (error, answer) => done(error === null ? readAnswer(answer) : failureOf(error, hasHeaders)),
    );
    let hasHeaders = false;
    call.on('metadata', () => {
      hasHeaders = true;
    });
    return call;
  });
}

/**
 * @param onMessage sees each message in order; `stop` ends the call at once, and the result is ok.
 * @returns the number of messages seen.
 */
export function readStream<I, O>(
  client: Client,
  method: MethodDefinition<I, O>,
  request: I,
  bounds: CallBounds,
  onMessage: (message: O) => 'more' | 'stop',
): Promise<CallResult<number>> {
  return settle(bounds, (done) => {
    const call: ClientReadableStream<Parsed<O>> = client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      parser(method),
      request,
      new Metadata(),
      { deadline: Date.now() + bounds.deadlineMs },
    );
    let count = 0;
    let hasHeaders = false;
    let isOver = false;
    const end = (result: CallResult<number>) => {
      isOver = true;
      done(result);
      call.cancel();
    };
    call.on('metadata', () => {
      hasHeaders = true;
    });
    call.on('data', (message: Parsed<O>) => {
      if (isOver) return;
      if (!message.ok) return end({ ok: false, kind: 'unreadable', details: message.problem });
      count++;
      if (onMessage(message.value) === 'stop') end({ ok: true, value: count });
    });
    call.on('error', (error: ServiceError) => done(failureOf(error, hasHeaders)));
    call.on('end', () => done({ ok: true, value: count }));
    return call;
  });
}

/** Sends all messages, each only when the connection takes it, then waits for the one answer. */
export function writeStream<I, O>(
  client: Client,
  method: MethodDefinition<I, O>,
  messages: Iterable<I>,
  bounds: CallBounds,
): Promise<CallResult<O>> {
  return settle(bounds, (done) => {
    let hasHeaders = false;
    const call = client.makeClientStreamRequest(
      method.path,
      method.requestSerialize,
      parser(method),
      new Metadata(),
      { deadline: Date.now() + bounds.deadlineMs },
      (error, answer) => done(error === null ? readAnswer(answer) : failureOf(error, hasHeaders)),
    );
    call.on('metadata', () => {
      hasHeaders = true;
    });
    // A server that refuses early ends the stream under our writes; its status arrives in the callback.
    call.on('error', () => {});
    const iterator = messages[Symbol.iterator]();
    const pump = () => {
      for (;;) {
        const next = iterator.next();
        if (next.done === true) return call.end();
        if (!call.write(next.value)) return void call.once('drain', pump);
      }
    };
    pump();
    return call;
  });
}

/** Runs one call; the first `done` counts, and the signal cancels it. */
function settle<T>(
  bounds: CallBounds,
  begin: (done: (result: CallResult<T>) => void) => { cancel(): void },
): Promise<CallResult<T>> {
  const aborted = (): CallResult<T> => ({ ok: false, kind: 'aborted', details: 'the caller gave up' });
  if (bounds.signal.aborted) return Promise.resolve(aborted());
  return new Promise((resolve) => {
    const onAbort = () => {
      resolve(aborted());
      call.cancel();
    };
    const call = begin((result) => {
      bounds.signal.removeEventListener('abort', onAbort);
      resolve(result);
    });
    if (bounds.signal.aborted) onAbort();
    else bounds.signal.addEventListener('abort', onAbort, { once: true });
  });
}

function parser<I, O>(method: MethodDefinition<I, O>): (bytes: Buffer) => Parsed<O> {
  return (bytes) => {
    try {
      return { ok: true, value: method.responseDeserialize(bytes) };
    } catch (thrown) {
      return { ok: false, problem: thrown instanceof Error ? thrown.message : String(thrown) };
    }
  };
}

function readAnswer<T>(answer: Parsed<T> | undefined): CallResult<T> {
  if (answer === undefined) return { ok: false, kind: 'unreadable', details: 'no message came' };
  return answer.ok ? answer : { ok: false, kind: 'unreadable', details: answer.problem };
}

function failureOf(error: ServiceError, hasHeaders: boolean): CallFailure {
  const details = printable(error.details || error.message);
  // A server that refuses for lack of a resource sends no headers before its status; one that began to answer and
  // ends so was cut off by our own receive limit.
  if (error.code === status.RESOURCE_EXHAUSTED && hasHeaders) return { ok: false, kind: 'too-large', details };
  return { ok: false, kind: 'status', status: error.code, details };
}

/** A stranger's text for a message to a person: one bounded line without control characters. */
export function printable(text: string, maxChars: number = MAX_DETAILS_CHARS): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();
  return line.length > maxChars ? `${line.slice(0, maxChars)}…` : line;
}
