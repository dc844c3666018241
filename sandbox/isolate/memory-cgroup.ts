/**
 * Memory cgroups for workers, version 1 and 2, where this process may make them. Without one the host polls the
 * worker's resident memory instead (worker-watch.ts). Every group is removed with its worker; groups of hosts that
 * died are swept at start.
 */
import { randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const PREFIX = 'flowops-sandbox-';
/** A group can be busy for a moment after its last process was reaped. */
const REMOVE_TRIES = 20;
const REMOVE_PAUSE_MS = 10;

export interface MemoryCgroup {
  /** The worker's first shell writes its pid here before it becomes the worker. */
  readonly procsFile: string;
  setLimit(bytes: number): void;
  /** Processes of the group that the kernel killed for want of memory. */
  oomKills(): number;
  /** Idempotent; the group must have no process left. */
  remove(): Promise<void>;
}

export interface MemoryCgroups {
  readonly version: 1 | 2;
  create(name: string, limitBytes: number): MemoryCgroup | undefined;
  close(): Promise<void>;
}

interface Layout {
  readonly version: 1 | 2;
  readonly folder: string;
  readonly limitFiles: readonly string[];
  readonly oomFile: string;
}

/** Undefined where this process cannot make groups (an ordinary user, most containers). */
export function openMemoryCgroups(root = '/sys/fs/cgroup'): MemoryCgroups | undefined {
  const layout = findLayout(root);
  if (layout === undefined) return undefined;
  sweep(layout.folder);
  const own = path.join(layout.folder, `${PREFIX}${process.pid}-${randomBytes(4).toString('hex')}`);
  try {
    mkdirSync(own);
    if (layout.version === 2) writeFileSync(path.join(own, 'cgroup.subtree_control'), '+memory');
  } catch {
    removeNow(own);
    return undefined;
  }
  return {
    version: layout.version,
    create: (name, limitBytes) => createGroup(layout, path.join(own, name), limitBytes),
    close: () => removeLater(own),
  };
}

function findLayout(root: string): Layout | undefined {
  try {
    const folder = path.join(root, 'memory');
    accessSync(path.join(folder, 'memory.limit_in_bytes'), constants.W_OK);
    // memsw counts memory and swap together; kernels without swap accounting lack it.
    const limitFiles = ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'];
    return { version: 1, folder, limitFiles, oomFile: 'memory.oom_control' };
  } catch {
    // not version 1
  }
  try {
    const controllers = readFileSync(path.join(root, 'cgroup.subtree_control'), 'utf8');
    if (!/\bmemory\b/.test(controllers)) writeFileSync(path.join(root, 'cgroup.subtree_control'), '+memory');
    return { version: 2, folder: root, limitFiles: ['memory.max'], oomFile: 'memory.events' };
  } catch {
    return undefined;
  }
}

function createGroup(layout: Layout, folder: string, limitBytes: number): MemoryCgroup | undefined {
  const setLimit = (bytes: number): void => {
    for (const [index, file] of layout.limitFiles.entries()) {
      try {
        writeFileSync(path.join(folder, file), String(bytes));
      } catch (thrown) {
        if (index === 0) throw thrown;
      }
    }
  };
  try {
    mkdirSync(folder);
    setLimit(limitBytes);
    if (layout.version === 2) tryWrite(path.join(folder, 'memory.swap.max'), '0');
  } catch {
    removeNow(folder);
    return undefined;
  }
  return {
    procsFile: path.join(folder, 'cgroup.procs'),
    setLimit: (bytes) => {
      // memsw may never be below the limit: the order of raising is the other way round.
      try {
        for (const file of layout.limitFiles.toReversed()) writeFileSync(path.join(folder, file), String(bytes));
      } catch {
        setLimit(bytes);
      }
    },
    oomKills: () => {
      try {
        return Number(/^oom_kill (\d+)/m.exec(readFileSync(path.join(folder, layout.oomFile), 'utf8'))?.[1] ?? 0);
      } catch {
        return 0;
      }
    },
    remove: () => removeLater(folder),
  };
}

function tryWrite(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch {
    // a kernel without swap accounting
  }
}

function removeNow(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (thrown) {
    return thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT';
  }
}

async function removeLater(folder: string): Promise<void> {
  for (let tries = 0; tries < REMOVE_TRIES && !removeNow(folder); tries++) await sleep(REMOVE_PAUSE_MS);
}

/** Groups of hosts that no longer run; those with live processes cannot be removed and stay. */
function sweep(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (!name.startsWith(PREFIX) || isAlive(Number.parseInt(name.slice(PREFIX.length), 10))) continue;
    const group = path.join(folder, name);
    for (const child of readdirSync(group, { withFileTypes: true })) {
      if (child.isDirectory()) removeNow(path.join(group, child.name));
    }
    removeNow(group);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown instanceof Error && 'code' in thrown && thrown.code === 'EPERM';
  }
}
