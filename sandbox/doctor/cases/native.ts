/** How a plugin of a container case begins: with all that Node has. */
import type { PluginAttempt } from '../case.ts';

const wall = { wallMs: 3_000, cpuMs: 20_000 } as const;

const FS = "import fs from 'node:fs';";
const CHILD = "import { spawn, spawnSync } from 'node:child_process';";
export const ALL = `${FS} ${CHILD} import net from 'node:net'; import dgram from 'node:dgram'; import dns from 'node:dns/promises'; import os from 'node:os'; import http from 'node:http';`;
/** The smallest program there is: 64-bit ELF that exits with 42. What matters is whether it is let run. */
export const TINY_ELF =
  'f0VMRgIBAQAAAAAAAAAAAAIAPgABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAhAAAAAAAAACEAAAAAAAAAAAQAAAAAAAAvyoAAAC4PAAAAA8F';

export function native(attempt: PluginAttempt, prologue = ALL): PluginAttempt {
  return { ...attempt, isNode: true, prologue, limits: { ...wall, ...attempt.limits } };
}
