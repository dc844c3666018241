/**
 * The HTTP server of the service. In this release it tells its health, for an orchestrator and for a person:
 * `GET /health/live` (the process answers) and `GET /health/ready` (200 when it can work, 503 with what is missing).
 */
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { fastify } from 'fastify';
import type { HostHealth } from '../sandbox-client/engine-sandboxes.ts';

export interface Readiness {
  readonly store: 'up' | 'down';
  /** Whether the consumer group has answered this engine of late; while it has not, nothing is started or published. */
  readonly group: 'good' | 'silent';
  /** That take steps; without one none can start. */
  readonly sandboxHosts: number;
  /** All that this engine is to use, and why one cannot be. */
  readonly sandboxes: readonly HostHealth[];
  /** Command partitions held; none is no fault: another engine may hold them all. */
  readonly partitions: readonly number[];
  readonly activeRuns: number;
  readonly queuedRuns: number;
  /** Active runs that rest in the store alone, until a command or their time comes. */
  readonly restingRuns: number;
  /** Runs that another release wrote and this one does not touch. */
  readonly runsOfUnknownFormat: number;
  /** Runs that a store lost, and that could not be written again. */
  readonly runsLost: number;
  /** Runs whose STOPPED waits for the proven end of an attempt. */
  readonly unconfirmedStops: number;
  readonly isEnding: boolean;
}

export interface HttpServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly readiness: () => Readiness;
}

export interface HttpServer {
  /** `http://host:port`. */
  readonly address: string;
  close(): Promise<void>;
}

/** @throws FlowopsError CONFIG_INVALID when the address cannot be listened on. */
export async function startHttpServer({ host, port, readiness }: HttpServerOptions): Promise<HttpServer> {
  const server = fastify({ logger: false, forceCloseConnections: true });
  server.get('/health/live', async () => ({ live: true }));
  server.get('/health/ready', async (_, reply) => {
    const told = readiness();
    const isUp = told.store === 'up' && told.group === 'good';
    const isReady = isUp && told.sandboxHosts > 0 && !told.isEnding;
    return reply.code(isReady ? 200 : 503).send({ ready: isReady, ...told });
  });
  try {
    const address = await server.listen({ host, port });
    return { address, close: () => server.close() };
  } catch (thrown) {
    const problem = `HTTP_HOST ${host} and HTTP_PORT ${port} cannot be listened on: ${messageOf(thrown)}`;
    throw new FlowopsError('CONFIG_INVALID', problem, { cause: thrown });
  }
}
