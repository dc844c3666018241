/**
 * The place of a unix socket: a folder that only its user enters, and no socket in it that somebody listens on. One that a
 * killed host left behind is removed.
 */
import { lstat, mkdir, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { FlowopsError } from '@flowops/proto/errors.ts';

/** sun_path of Linux without its final zero; the system cuts a longer one without a word. */
const MAX_PATH_BYTES = 107;
const OTHERS = 0o077;

/** @throws FlowopsError CONFIG_INVALID that says what to change */
export async function prepareSocketPlace(path: string): Promise<void> {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_PATH_BYTES) {
    throw wrong(`the path of the socket ${path} has ${bytes} bytes; the system takes ${MAX_PATH_BYTES}`);
  }
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { mode, uid } = await stat(folder);
  if ((mode & OTHERS) !== 0 || uid !== process.getuid?.()) {
    const who = uid === process.getuid?.() ? 'others may enter it' : 'it belongs to another user';
    throw wrong(`the folder ${folder} of the socket must be its user's alone, and ${who}: chmod 700, or name another`);
  }
  const there = await lstat(path).catch(() => undefined);
  if (there === undefined) return;
  if (!there.isSocket()) throw wrong(`${path} is there and is no socket`);
  if (await isListenedOn(path)) throw wrong(`another process listens on ${path}: stop it, or name another path`);
  await rm(path, { force: true });
}

function isListenedOn(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const finish = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once('connect', () => finish(true));
    // Refused: whoever listened is dead.
    socket.once('error', () => finish(false));
  });
}

function wrong(message: string): FlowopsError {
  return new FlowopsError('CONFIG_INVALID', `SANDBOX_LISTEN: ${message}`);
}
