/**
 * Globals of Node that no sandbox has, unless the manifest says `runtime: "node"`: all that Node puts beside ECMAScript
 * and that is not on the closed list of proto/guest-globals.ts. A test compares this with the Node that runs it.
 */
import { GUEST_GLOBALS, REMOVED_GLOBALS } from '@flowops/proto/guest-globals.ts';

const NODE_GLOBALS = [
  ...['process', 'Buffer', 'global', 'setImmediate', 'clearImmediate', 'navigator', 'localStorage', 'sessionStorage'],
  ...['Blob', 'BroadcastChannel', 'ByteLengthQueuingStrategy', 'CloseEvent', 'CompressionStream'],
  ...[
    'CountQueuingStrategy',
    'Crypto',
    'CryptoKey',
    'CustomEvent',
    'DOMException',
    'DecompressionStream',
    'ErrorEvent',
  ],
  ...['EventSource', 'File', 'FormData', 'MessageChannel', 'MessageEvent', 'MessagePort', 'Navigator', 'Performance'],
  ...['PerformanceEntry', 'PerformanceMark', 'PerformanceMeasure', 'PerformanceObserver'],
  ...['PerformanceObserverEntryList', 'PerformanceResourceTiming', 'ReadableByteStreamController', 'ReadableStream'],
  ...['ReadableStreamBYOBReader', 'ReadableStreamBYOBRequest', 'ReadableStreamDefaultController'],
  ...['ReadableStreamDefaultReader', 'Storage', 'SubtleCrypto', 'TextDecoderStream', 'TextEncoderStream'],
  ...['TransformStream', 'TransformStreamDefaultController', 'URLPattern', 'WebSocket', 'WritableStream'],
  ...['WritableStreamDefaultController', 'WritableStreamDefaultWriter'],
];

const given: ReadonlySet<string> = new Set(GUEST_GLOBALS);
/** What a task without Node must not find. */
export const MISSING_GLOBALS: readonly string[] = [...NODE_GLOBALS, ...REMOVED_GLOBALS].filter(
  (name) => !given.has(name),
);
