/**
 * One set-up of a clone at a time: a file that only one process can make, with its pid in it. A lock whose process
 * is gone is taken over. Plain JavaScript for Node 18 and later.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Longer than an install on a slow line; then something else is wrong and a person should look. */
const WAIT_MAX_MS = 15 * 60_000;
const POLL_MS = 200;

/**
 * @template T
 * @param {string} path
 * @param {(line: string) => void} say
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(path, say, work) {
  await take(path, say);
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

async function take(path, say) {
  mkdirSync(dirname(path), { recursive: true });
  const untilMs = Date.now() + WAIT_MAX_MS;
  let isTold = false;
  for (;;) {
    if (tryTake(path)) return;
    const holder = holderOf(path);
    if (holder !== undefined && !isAlive(holder)) {
      removeStale(path);
      continue;
    }
    if (!isTold) say(`another set-up of this folder is running (process ${holder ?? 'unknown'}); waiting for it`);
    isTold = true;
    if (Date.now() > untilMs) throw new Error(`the set-up lock ${path} is still held; remove it if no set-up runs`);
    await sleep(POLL_MS);
  }
}

/** A link is made whole, pid included, or not at all. */
function tryTake(path) {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, String(process.pid));
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(own, { force: true });
  }
}

/** Moves the lock of a process that is gone aside; a lock that somebody took in between is put back. */
function removeStale(path) {
  const aside = `${path}.stale-${process.pid}`;
  try {
    renameSync(path, aside);
    const holder = holderOf(aside);
    if (holder !== undefined && isAlive(holder)) linkSync(aside, path);
  } catch (error) {
    // Another waiter was faster, at moving it aside or at taking it.
    if (error.code !== 'ENOENT' && error.code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** The pid in the lock; undefined when it is gone again. */
function holderOf(path) {
  try {
    const pid = Number(readFileSync(path, 'utf8'));
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
