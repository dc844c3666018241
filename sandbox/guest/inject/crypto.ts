/** crypto: random bytes, which are the worker's, and digests. https://www.w3.org/TR/webcrypto/ */
import { HOST_OP, type HostFunction, MAX_RANDOM_BYTES } from '../guest-protocol.ts';
import { digest } from './digest.ts';
import { namedError } from './named-error.ts';

export function createCrypto(host: HostFunction): object {
  const fill = (bytes: Uint8Array): void => {
    const random = String(host(HOST_OP.random, bytes.length));
    for (let i = 0; i < bytes.length; i++) bytes[i] = random.charCodeAt(i);
  };
  return {
    getRandomValues: <T>(array: T): T => {
      if (!ArrayBuffer.isView(array) || array instanceof DataView || /^Float/.test(nameOf(array))) {
        throw namedError('TypeMismatchError', 'getRandomValues takes an integer typed array');
      }
      if (array.byteLength > MAX_RANDOM_BYTES) {
        throw namedError('QuotaExceededError', `getRandomValues gives at most ${MAX_RANDOM_BYTES} bytes at once`);
      }
      fill(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
      return array;
    },
    randomUUID: (): string => {
      const bytes = new Uint8Array(16);
      fill(bytes);
      bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
      bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
      let text = '';
      for (let i = 0; i < bytes.length; i++) {
        text += (i === 4 || i === 6 || i === 8 || i === 10 ? '-' : '') + (bytes[i] ?? 0).toString(16).padStart(2, '0');
      }
      return text;
    },
    subtle: { digest },
  };
}

function nameOf(view: ArrayBufferView): string {
  return Object.prototype.toString.call(view).slice('[object '.length);
}
