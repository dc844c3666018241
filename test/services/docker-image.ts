/**
 * Whether a container can stand in for a program that is not installed, and the command line that runs it so. Probing is
 * fast: no client, no daemon or no image that can be had answers undefined, and the starter goes on to its next source.
 */
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

/** A service's command as it runs in a container: ended by the end of our pipe to it. */
export function containerService(image: string, folder: string, command: readonly string[]): readonly string[] {
  return containerTool(image, folder, ['/bin/sh', '-c', KILL_WHEN_STDIN_ENDS, 'sh', ...command]);
}

/** A short command that reads stdin: in a container with the host's network and `folder` at its own path. */
export function containerTool(image: string, folder: string, command: readonly string[]): readonly string[] {
  const user = process.getuid === undefined ? [] : ['--user', `${process.getuid()}:${process.getgid?.() ?? 0}`];
  const place = ['--network', 'host', '-v', `${folder}:${folder}`, '-w', folder, ...user];
  const [program = '', ...args] = command;
  return ['docker', 'run', '--rm', '-i', ...place, '--entrypoint', program, image, ...args];
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
