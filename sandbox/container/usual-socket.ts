/** Where Docker listens when DOCKER_HOST says nothing: the socket of Docker Desktop in the user's home, else the system's. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

const SYSTEM_SOCKET = '/var/run/docker.sock';

/** Undefined on Windows, where it is a pipe. Never throws: a user without a home has none to look into. */
export function usualSocket(): string | undefined {
  if (process.platform === 'win32') return undefined;
  try {
    const ofUser = path.join(homedir(), '.docker', 'run', 'docker.sock');
    return existsSync(ofUser) ? ofUser : SYSTEM_SOCKET;
  } catch {
    return SYSTEM_SOCKET;
  }
}
