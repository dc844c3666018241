/**
 * `flowops registry serve`: a registry folder as the gRPC plugin service, with server reflection. Owns the listening
 * server; what is stored and found is registry-folder.ts. Plain text: who may reach the port is the network's matter,
 * so the default is loopback.
 */
import { mkdir, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { grpcMethods } from '@flowops/proto/grpc-service.ts';
import { MAX_BUNDLE_BYTES } from '@flowops/proto/manifest.ts';
import { file_plugin_service, PluginService } from '@flowops/proto/plugin_service_pb.js';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { pluginServiceHandlers } from './registry-calls.ts';
import { RegistryFolder } from './registry-folder.ts';

/** A whole bundle in one message, its field tags and ids beside it. */
export const MAX_MESSAGE_BYTES = MAX_BUNDLE_BYTES + 64 * 1024;
/** Each may hold a whole bundle in memory. */
const MAX_CALLS_PER_CONNECTION = 64;
/** 16 MiB over a slow line, twice the publisher's own patience. */
const DEFAULT_MAX_CALL_MS = 120_000;
/** Calls that still run when the server closes get this long. */
const CLOSE_GRACE_MS = 2_000;

export interface ServeRegistryOptions {
  /** Made when it is missing. */
  readonly dir: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0: a free one. */
  readonly port: number;
  readonly log?: (message: string) => void;
  /** Default 2 min. */
  readonly maxCallMs?: number;
}

export interface RunningRegistry {
  /** `host:port`, ready for PLUGIN_SERVICE_ADDRESS. */
  readonly address: string;
  /** Idempotent. Lets running calls finish for 2 s. */
  close(): Promise<void>;
}

/** @throws FlowopsError CONFIG_INVALID when the folder or the port cannot be had; the message says what to change. */
export async function serveRegistry(options: ServeRegistryOptions): Promise<RunningRegistry> {
  const log = options.log ?? (() => {});
  const host = options.host ?? '127.0.0.1';
  await prepareFolder(options.dir);
  await requireFreePort(host, options.port);
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_concurrent_streams': MAX_CALLS_PER_CONNECTION,
  });
  const folder = new RegistryFolder(options.dir, log);
  const maxCallMs = options.maxCallMs ?? DEFAULT_MAX_CALL_MS;
  server.addService(grpcMethods(PluginService), { ...pluginServiceHandlers({ folder, log, maxCallMs }) });
  reflection().addToServer(server);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(hostAndPort(host, options.port), ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(cannotListen(host, options.port, error));
    });
  });
  let closing: Promise<void> | undefined;
  return {
    address: hostAndPort(host, port),
    close: () => {
      closing ??= closeServer(server);
      return closing;
    },
  };
}

/** Our one file, for clients that ask the server what it speaks (grpcurl and the like). */
function reflection(): ReflectionService {
  const descriptor = Buffer.from(toBinary(FileDescriptorProtoSchema, file_plugin_service.proto));
  return new ReflectionService({
    [PluginService.typeName]: {
      format: 'Protocol Buffer 3 DescriptorProto',
      type: {},
      fileDescriptorProtos: [descriptor],
    },
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.forceShutdown(), CLOSE_GRACE_MS);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

async function prepareFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true });
    if ((await stat(dir)).isDirectory()) return;
  } catch (thrown) {
    throw new FlowopsError('CONFIG_INVALID', `the registry folder ${dir} cannot be used: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

/** grpc-js tells a taken port only in words; a plain socket tells it by code. */
function requireFreePort(host: string, port: number): Promise<void> {
  if (port === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error) => reject(cannotListen(host, port, error)));
    probe.listen({ host, port }, () => probe.close(() => resolve()));
  });
}

function cannotListen(host: string, port: number, error: Error): FlowopsError {
  const code = 'code' in error ? error.code : undefined;
  const place = hostAndPort(host, port);
  if (code === 'EADDRINUSE') {
    return new FlowopsError(
      'CONFIG_INVALID',
      `something else listens on ${place} already; stop it or give another --port`,
      { cause: error },
    );
  }
  return new FlowopsError('CONFIG_INVALID', `cannot listen on ${place}: ${error.message}`, { cause: error });
}

function hostAndPort(host: string, port: number): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]:${port}` : `${host}:${port}`;
}
