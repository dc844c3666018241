/**
 * Closes what this process inherited beside its first four descriptors. Node marks the lowest ones as not to be passed
 * on, but stops at the first gap; anything above would go on into every worker. For processes that serve a sandbox.
 */
import { closeSync } from 'node:fs';
import { inheritedDescriptors } from '../kernel/process-figures.ts';

export function closeInheritedDescriptors(): void {
  if (process.platform !== 'linux') return;
  for (const fd of inheritedDescriptors('self')) {
    try {
      closeSync(fd);
    } catch {
      // closed meanwhile
    }
  }
}
