/**
 * Makes @grpc/grpc-js method definitions from a service that protobuf-es generated, so that no second code generator
 * and no .proto at run time is needed. Knows nothing of any particular service.
 */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  MethodDefinition,
} from '@grpc/grpc-js';

/** The definitions of a service by the methods' names in camel case; fits `Server.addService` and `Client.make…Request`. */
export type GrpcMethods<Methods extends GenServiceMethods> = {
  readonly [K in keyof Methods]: MethodDefinition<
    MessageShape<Methods[K]['input']>,
    MessageShape<Methods[K]['output']>
  >;
};

interface HandlerByKind<I, O> {
  unary: handleUnaryCall<I, O>;
  server_streaming: handleServerStreamingCall<I, O>;
  client_streaming: handleClientStreamingCall<I, O>;
  bidi_streaming: handleBidiStreamingCall<I, O>;
}

/** What a server of the service has to give, one typed handler a method. */
export type GrpcHandlers<Methods extends GenServiceMethods> = {
  [K in keyof Methods]: HandlerByKind<
    MessageShape<Methods[K]['input']>,
    MessageShape<Methods[K]['output']>
  >[Methods[K]['methodKind']];
};

export function grpcMethods<Methods extends GenServiceMethods>(service: GenService<Methods>): GrpcMethods<Methods> {
  const definitions: Record<string, MethodDefinition<MessageShape<DescMessage>, MessageShape<DescMessage>>> = {};
  for (const [name, method] of Object.entries(service.method)) {
    definitions[name] = {
      path: `/${service.typeName}/${method.name}`,
      requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
      responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
      requestSerialize: serializer(method.input),
      requestDeserialize: deserializer(method.input),
      responseSerialize: serializer(method.output),
      responseDeserialize: deserializer(method.output),
      originalName: method.name,
    };
  }
  // The loop above built exactly one definition per key of `service.method`; a loop cannot carry that in its type.
  return definitions as unknown as GrpcMethods<Methods>;
}

function serializer(schema: DescMessage): (message: MessageShape<DescMessage>) => Buffer {
  return (message) => {
    const bytes = toBinary(schema, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

function deserializer(schema: DescMessage): (bytes: Buffer) => MessageShape<DescMessage> {
  return (bytes) => fromBinary(schema, bytes);
}
