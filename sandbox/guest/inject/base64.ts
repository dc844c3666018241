/** atob and btoa. https://infra.spec.whatwg.org/#forgiving-base64 */
import { namedError } from './named-error.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

export function btoa(value: unknown): string {
  const text = String(value);
  let encoded = '';
  for (let i = 0; i < text.length; i += 3) {
    const [a, b, c] = [text.charCodeAt(i), text.charCodeAt(i + 1), text.charCodeAt(i + 2)];
    if (a > 255 || b > 255 || c > 255) throw invalid('the text has a character above U+00FF');
    const bits = (a << 16) | ((b || 0) << 8) | (c || 0);
    encoded += digit(bits >> 18) + digit(bits >> 12);
    encoded += i + 1 < text.length ? digit(bits >> 6) : '=';
    encoded += i + 2 < text.length ? digit(bits) : '=';
  }
  return encoded;
}

export function atob(value: unknown): string {
  let text = String(value).replace(/[\t\n\f\r ]+/g, '');
  if (text.length % 4 === 0) text = text.replace(/={1,2}$/, '');
  if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) throw invalid('the text is not base64');
  let decoded = '';
  let bits = 0;
  let count = 0;
  for (const character of text) {
    bits = ((bits << 6) | ALPHABET.indexOf(character)) & 0xffff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    decoded += String.fromCharCode((bits >> count) & 0xff);
  }
  return decoded;
}

function digit(bits: number): string {
  return ALPHABET[bits & 63] ?? '';
}

function invalid(message: string): Error {
  return namedError('InvalidCharacterError', message);
}
