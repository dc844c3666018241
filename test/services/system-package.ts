/** Programs of the operating system that a service needs: installed where that is ours to do, else named. */
import { hasProgram, runCommand } from './child.ts';

const INSTALL_TIMEOUT_MS = 300_000;

/** Makes sure that a program is there: by apt-get as root, else an error with the one command to type. */
export async function needProgram(program: string, debianPackage: string): Promise<void> {
  if (await hasProgram(program)) return;
  const isRoot = process.getuid?.() === 0;
  if (isRoot && (await hasProgram('apt-get'))) {
    // RUNLEVEL=1 keeps the package from starting a service of its own.
    const apt = ['env', 'DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1', 'apt-get'];
    await runCommand([...apt, 'update', '-qq'], { timeoutMs: INSTALL_TIMEOUT_MS });
    await runCommand([...apt, 'install', '-y', '-qq', debianPackage], { timeoutMs: INSTALL_TIMEOUT_MS });
    if (await hasProgram(program)) return;
  }
  throw new Error(`${program} is not installed. Type: ${installHint(debianPackage)}`);
}

function installHint(debianPackage: string): string {
  if (process.platform !== 'darwin') return `sudo apt-get install ${debianPackage}`;
  const formula = debianPackage.replace('redis-server', 'redis').replace('default-jre-headless', 'openjdk');
  return `brew install ${formula}`;
}
