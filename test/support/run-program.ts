/** Runs one `register…Command` of a part as the bin does, and gives what it printed and threw. */
import { Command } from 'commander';
import { vi } from 'vitest';

export interface ProgramRun {
  readonly stdout: string;
  readonly stderr: string;
  readonly thrown: unknown;
}

export async function runProgram(register: (program: Command) => void, args: readonly string[]): Promise<ProgramRun> {
  const program = new Command('flowops').exitOverride().configureOutput({ writeErr: () => undefined });
  register(program);
  for (const command of program.commands) command.exitOverride().configureOutput({ writeErr: () => undefined });
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += String(text);
      return true;
    }),
  );
  try {
    await program.parseAsync([...args], { from: 'user' });
    return { ...written, thrown: undefined };
  } catch (thrown) {
    return { ...written, thrown };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
