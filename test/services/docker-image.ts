/**
 * Whether a container can stand in for a program that is not installed, and the command line that runs it so. Probing is
 * fast: no client, no daemon or no image that can be had answers undefined, and the starter goes on to its next source.
 */
import { randomUUID } from 'node:crypto';
import { hasProgram, KILL_WHEN_STDIN_ENDS, runCommand } from './child.ts';

const DAEMON_TIMEOUT_MS = 2000;
const PULL_TIMEOUT_MS = 180_000;
let daemon: Promise<boolean> | undefined;

/** True when the image is there, or could be pulled (only tried with `pull`). */
export async function hasImage(image: string, options: { readonly pull: boolean }): Promise<boolean> {
  daemon ??= hasDaemon();
  if (!(await daemon)) return false;
  if (await succeeds(['docker', 'image', 'inspect', image], DAEMON_TIMEOUT_MS)) return true;
  return options.pull && (await succeeds(['docker', 'pull', '-q', image], PULL_TIMEOUT_MS));
}

/** The command as it runs in a container of the image: the host's network, `folder` at its own path, gone with our pipe. */
export function containerCommand(image: string, folder: string, command: readonly string[]): readonly string[] {
  const name = `flowops-test-${randomUUID()}`;
  const user = process.getuid === undefined ? [] : ['--user', `${process.getuid()}:${process.getgid?.() ?? 0}`];
  const place = ['--network', 'host', '-v', `${folder}:${folder}`, '-w', folder, ...user];
  return [
    ...['docker', 'run', '--rm', '-i', '--name', name, ...place],
    ...['--entrypoint', '/bin/sh', image, '-c', KILL_WHEN_STDIN_ENDS, 'sh', ...command],
  ];
}

async function hasDaemon(): Promise<boolean> {
  if (!(await hasProgram('docker'))) return false;
  return succeeds(['docker', 'version', '--format', '{{.Server.Version}}'], DAEMON_TIMEOUT_MS);
}

async function succeeds(command: readonly string[], timeoutMs: number): Promise<boolean> {
  try {
    await runCommand(command, { timeoutMs });
    return true;
  } catch {
    return false;
  }
}
