/**
 * What a Redis says by itself to a new connection. A server that takes none (protected mode, too many clients) writes
 * one line and closes; the client library writes first, and then knows no more than that its write failed.
 */
import { connect } from 'node:net';
import type { RedisAddress } from './redis-url.ts';

/** It is written before the connection is given to us: what is not here by then does not come. */
const GREETING_MS = 500;
const GREETING_MAX = 1_024;
const FIRST_LINE = /^-([^\r\n]+)/;

/** An error reply, as the client library gives one; undefined when the server says nothing, as it should. */
export function greetingOf({ hosts, tls, sentinel }: RedisAddress): Promise<Error | undefined> {
  // Under TLS nothing readable can come before our own first message.
  if (tls !== undefined || sentinel !== undefined) return Promise.resolve(undefined);
  const { host, port } = hosts[0];
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    let text = '';
    const end = () => {
      clearTimeout(timer);
      socket.destroy();
      const line = FIRST_LINE.exec(text)?.[1];
      resolve(line === undefined ? undefined : errorReply(line));
    };
    const timer = setTimeout(end, GREETING_MS);
    socket.setEncoding('utf8');
    socket.on('error', end);
    socket.on('close', end);
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.includes('\n') || text.length > GREETING_MAX) end();
    });
  });
}

function errorReply(line: string): Error {
  const error = new Error(line);
  error.name = 'ReplyError';
  return error;
}
