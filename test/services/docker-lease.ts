/** What docker.ts and docker-keeper.ts say to each other: one line of JSON, then the open connection is the lease. */
import { join } from 'node:path';
import { z } from 'zod';

export const keeperAnswerSchema = z.union([
  z.strictObject({ host: z.string() }),
  z.strictObject({ problem: z.string() }),
]);

export function keeperSocket(folder: string): string {
  return join(folder, 'keeper.sock');
}
