/** What this machine can enforce, as far as a policy names numbers for it. */
import { totalmem } from 'node:os';
import type { KeyPath } from './document.ts';
import type { PolicyDocument } from './schema.ts';

export interface Machine {
  /** What processes here can have at most: physical memory, or less where a cgroup says so. */
  readonly memoryMb: number;
}

export function thisMachine(): Machine {
  const constrained = process.constrainedMemory();
  const bytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return { memoryMb: Math.floor(bytes / 1024 / 1024) };
}

export function checkMachine(policy: PolicyDocument, machine: Machine): { path: KeyPath; message: string }[] {
  const places: { path: KeyPath; memoryMb: number | undefined }[] = [
    { path: ['defaults', 'limits', 'memoryMb'], memoryMb: policy.defaults?.limits?.memoryMb },
    ...(policy.rules ?? []).map(({ limits }, index) => ({
      path: ['rules', index, 'limits', 'memoryMb'],
      memoryMb: limits?.memoryMb,
    })),
  ];
  return places.flatMap(({ path, memoryMb }) =>
    memoryMb === undefined || memoryMb <= machine.memoryMb
      ? []
      : [
          {
            path,
            message: `this machine has ${machine.memoryMb} MB and cannot enforce ${memoryMb}; write ${machine.memoryMb} or less`,
          },
        ],
  );
}
