/**
 * Folders for the data of services that tests start. Each carries the pid of its owner in its name: it is removed when
 * that process ends, and where the process was killed, by the next one that makes a folder.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PREFIX = 'flowops-test-';
const owned = new Set<string>();
let isFirst = true;

/** A new empty folder that lives as long as this process. */
export function scratchFolder(): string {
  if (isFirst) {
    isFirst = false;
    sweepOrphans();
    process.once('exit', () => {
      for (const folder of owned) removeFolder(folder);
    });
  }
  const folder = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  owned.add(folder);
  return folder;
}

export function removeFolder(folder: string): void {
  owned.delete(folder);
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  } catch {
    // Another user's file in it (a container's): the folder is in the system's temporary folder, which cleans itself.
  }
}

function sweepOrphans(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : Number.NaN;
    if (!Number.isNaN(pid) && !isAlive(pid)) removeFolder(join(tmpdir(), name));
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown instanceof Error && 'code' in thrown && thrown.code === 'EPERM';
  }
}
