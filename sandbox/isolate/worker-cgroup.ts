/**
 * Cgroups for workers, version 1 and 2, where this process may make them: a bound on memory, and the kernel's figures
 * of CPU and memory of all that a worker started. Without one the host polls /proc instead (worker-watch.ts,
 * process-figures.ts). Every group is removed with its worker; groups of hosts that died are swept at start, and what
 * still runs in them is killed.
 */
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmdirSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const PREFIX = 'flowops-sandbox-';
/** A group can be busy for a moment after its last process was reaped. */
const REMOVE_TRIES = 20;
const REMOVE_PAUSE_MS = 10;
/** Of a file with one number or a few short lines. */
const FIGURE_BYTES = 256;

export interface WorkerCgroup {
  /** The worker's first shell writes its pid into each before it becomes the worker. */
  readonly procsFiles: readonly string[];
  setLimit(bytes: number): void;
  /** Processes of the group that the kernel killed for want of memory. */
  oomKills(): number;
  /** CPU of all that ever ran in it; undefined where this kernel does not tell. */
  cpuMs(): number | undefined;
  /** From now on `peakBytes` tells the most since now. False where this kernel cannot. */
  resetPeak(): boolean;
  peakBytes(): number | undefined;
  /** Idempotent; the group must have no process left. */
  remove(): Promise<void>;
}

export interface WorkerCgroups {
  readonly version: 1 | 2;
  create(name: string, limitBytes: number): WorkerCgroup | undefined;
  close(): Promise<void>;
}

interface Layout {
  readonly version: 1 | 2;
  readonly folder: string;
  /** Version 1 counts CPU in a hierarchy of its own. */
  readonly cpuFolder: string | undefined;
  readonly limitFiles: readonly string[];
  readonly oomFile: string;
  readonly peakFile: string;
}

/** Undefined where this process cannot make groups (an ordinary user, most containers). */
export function openWorkerCgroups(root = '/sys/fs/cgroup'): WorkerCgroups | undefined {
  const layout = findLayout(root);
  if (layout === undefined) return undefined;
  const name = `${PREFIX}${process.pid}-${randomBytes(4).toString('hex')}`;
  const own = path.join(layout.folder, name);
  let ownCpu = layout.cpuFolder === undefined ? undefined : path.join(layout.cpuFolder, name);
  sweep(layout.folder);
  if (layout.cpuFolder !== undefined) sweep(layout.cpuFolder);
  try {
    mkdirSync(own);
    if (layout.version === 2) writeFileSync(path.join(own, 'cgroup.subtree_control'), '+memory');
  } catch {
    removeNow(own);
    return undefined;
  }
  if (ownCpu !== undefined && !makeFolder(ownCpu)) ownCpu = undefined;
  return {
    version: layout.version,
    create: (worker, limitBytes) => {
      const cpuFolder = ownCpu === undefined ? undefined : path.join(ownCpu, worker);
      return createGroup(layout, path.join(own, worker), cpuFolder, limitBytes);
    },
    close: async () => {
      await removeLater(own);
      if (ownCpu !== undefined) await removeLater(ownCpu);
    },
  };
}

function findLayout(root: string): Layout | undefined {
  try {
    const folder = path.join(root, 'memory');
    accessSync(path.join(folder, 'memory.limit_in_bytes'), constants.W_OK);
    // memsw counts memory and swap together; kernels without swap accounting lack it.
    const limitFiles = ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'];
    const peakFile = 'memory.max_usage_in_bytes';
    const cpuFolder = path.join(root, 'cpuacct');
    return { version: 1, folder, cpuFolder, limitFiles, oomFile: 'memory.oom_control', peakFile };
  } catch {
    // not version 1
  }
  try {
    const controllers = readFileSync(path.join(root, 'cgroup.subtree_control'), 'utf8');
    if (!/\bmemory\b/.test(controllers)) writeFileSync(path.join(root, 'cgroup.subtree_control'), '+memory');
    const [limitFiles, oomFile, peakFile] = [['memory.max'], 'memory.events', 'memory.peak'];
    return { version: 2, folder: root, cpuFolder: undefined, limitFiles, oomFile, peakFile };
  } catch {
    return undefined;
  }
}

function createGroup(
  layout: Layout,
  folder: string,
  cpuFolder: string | undefined,
  limitBytes: number,
): WorkerCgroup | undefined {
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
  const hasCpuFolder = cpuFolder !== undefined && makeFolder(cpuFolder);
  const cpu = layout.version === 2 ? path.join(folder, 'cpu.stat') : path.join(cpuFolder ?? '', 'cpuacct.usage');
  const cpuFile = new FigureFile(layout.version === 2 || hasCpuFolder ? cpu : undefined, 'r');
  const peakFile = new FigureFile(path.join(folder, layout.peakFile), 'r+');
  return {
    procsFiles: [folder, ...(hasCpuFolder ? [cpuFolder] : [])].map((group) => path.join(group, 'cgroup.procs')),
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
    cpuMs: () => {
      const text = cpuFile.read();
      if (text === undefined) return undefined;
      if (layout.version === 1) return Number(text) / 1e6;
      const usage = /^usage_usec (\d+)/m.exec(text)?.[1];
      return usage === undefined ? undefined : Number(usage) / 1e3;
    },
    // Any text resets a peak; version 2 does so for the one who has the file open, from kernel 6.12 on.
    resetPeak: () => peakFile.write('0'),
    peakBytes: () => {
      const text = peakFile.read();
      return text === undefined ? undefined : Number(text);
    },
    remove: async () => {
      cpuFile.close();
      peakFile.close();
      await removeLater(folder);
      if (hasCpuFolder) await removeLater(cpuFolder);
    },
  };
}

/** A file of the kernel that is read at every step: kept open, because opening costs more than reading. */
class FigureFile {
  #fd: number | undefined;

  constructor(file: string | undefined, flags: 'r' | 'r+') {
    try {
      if (file !== undefined) this.#fd = openSync(file, flags);
    } catch {
      // this kernel has no such figure, or does not let it be reset
    }
  }

  read(): string | undefined {
    if (this.#fd === undefined) return undefined;
    try {
      const bytes = Buffer.alloc(FIGURE_BYTES);
      return bytes.toString('latin1', 0, readSync(this.#fd, bytes, 0, bytes.length, 0)).trim();
    } catch {
      return undefined;
    }
  }

  write(text: string): boolean {
    if (this.#fd === undefined) return false;
    try {
      return writeSync(this.#fd, text, 0) > 0;
    } catch {
      return false;
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

function makeFolder(folder: string): boolean {
  try {
    mkdirSync(folder);
    return true;
  } catch {
    return false;
  }
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

/** Groups of hosts that no longer run, with what was left in them. A group that is busy yet goes at the next start. */
function sweep(folder: string): void {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return; // this hierarchy is not there
  }
  for (const name of names) {
    if (!name.startsWith(PREFIX) || isAlive(Number.parseInt(name.slice(PREFIX.length), 10))) continue;
    const group = path.join(folder, name);
    for (const child of readdirSync(group, { withFileTypes: true })) {
      if (!child.isDirectory()) continue;
      killAll(path.join(group, child.name));
      removeNow(path.join(group, child.name));
    }
    removeNow(group);
  }
}

function killAll(group: string): void {
  try {
    for (const pid of readFileSync(path.join(group, 'cgroup.procs'), 'utf8').split('\n').map(Number)) {
      if (pid > 1) process.kill(pid, 'SIGKILL');
    }
  } catch {
    // gone meanwhile
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
