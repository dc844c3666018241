/**
 * A plugin that tells a server of the test, again and again, that it runs, and the server. So a test sees from outside,
 * whatever engines and hosts say, whether code of a run still runs: a pulse carries the time at which it was sent.
 */
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { Growing } from './service-growing.ts';

const PULSE_MS = 25;

const pulseSchema = z.object({
  /** flowId/runId/stepId. */
  key: z.string(),
  attempt: z.number(),
  /** Epoch ms of the guest's clock, which is this machine's. */
  sentMs: z.number(),
});
export type Pulse = z.output<typeof pulseSchema>;

export interface Pulses {
  readonly all: Growing<Pulse>;
  /** A grant of the policy, and what the plugin asks for. */
  readonly grant: string;
  /** Pulses of a run, as they came. */
  of(run: { readonly flowId: string; readonly runId: string }): readonly Pulse[];
  /** Writes the plugin's source (`test.pulse`: beats until it is stopped) and gives its path. */
  writePlugin(folder: string): string;
  close(): Promise<void>;
}

export async function listenForPulses(): Promise<Pulses> {
  const all = new Growing<Pulse>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      all.push(pulseSchema.parse(JSON.parse(Buffer.concat(chunks).toString())));
      response.end();
    });
  });
  const port = await listen(server);
  const grant = `private:127.0.0.1:${port}`;
  return {
    all,
    grant,
    of: ({ flowId, runId }) => all.items.filter(({ key }) => key.startsWith(`${flowId}/${runId}/`)),
    writePlugin: (folder) => {
      const file = join(folder, 'pulse.ts');
      writeFileSync(file, pluginSource(grant, port));
      return file;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    // A TCP server that listens has an address.
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function pluginSource(grant: string, port: number): string {
  return `import { defineTask } from '@flowops/sdk';

export default defineTask({
  name: 'test.pulse',
  version: '1.0.0',
  permissions: { net: ['${grant}'] },
  async run({ context }) {
    for (;;) {
      const body = JSON.stringify({ key: context.idempotencyKey, attempt: context.attempt, sentMs: Date.now() });
      const response = await context.fetch('http://127.0.0.1:${port}/', { method: 'POST', body });
      await response.text();
      await new Promise((resolve) => setTimeout(resolve, ${PULSE_MS}));
    }
  },
});
`;
}
