/**
 * Bytes as base64 and back, for what goes to the host: with little memory beside the text itself, because a body can
 * be a good part of a plugin's heap. https://www.rfc-editor.org/rfc/rfc4648#section-4
 */
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const PADDING = 61;
/** Bytes of one piece, in threes; a piece's characters are arguments of one call. */
const PIECE_BYTES = 3 * 2048;

const codes = Uint8Array.from(ALPHABET, (character) => character.charCodeAt(0));
const values = new Uint8Array(128);
codes.forEach((code, value) => {
  values[code] = value;
});

export function bytesToBase64(bytes: Uint8Array): string {
  const piece = new Uint8Array((PIECE_BYTES / 3) * 4);
  const texts: string[] = [];
  for (let from = 0; from < bytes.length; from += PIECE_BYTES) {
    const length = encodePiece(bytes.subarray(from, from + PIECE_BYTES), piece);
    texts.push(Reflect.apply(String.fromCharCode, undefined, piece.subarray(0, length)));
  }
  return texts.join('');
}

function encodePiece(bytes: Uint8Array, piece: Uint8Array): number {
  let at = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const bits = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    piece[at++] = codes[bits >> 18] ?? 0;
    piece[at++] = codes[(bits >> 12) & 63] ?? 0;
    piece[at++] = left > 1 ? (codes[(bits >> 6) & 63] ?? 0) : PADDING;
    piece[at++] = left > 2 ? (codes[bits & 63] ?? 0) : PADDING;
  }
  return at;
}

/** @param text as the host wrote it: whole, padded, without line ends. */
export function base64ToBytes(text: string): Uint8Array {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  const value = (i: number): number => values[text.charCodeAt(i) & 127] ?? 0;
  let at = 0;
  for (let i = 0; i < text.length; i += 4) {
    const bits = (value(i) << 18) | (value(i + 1) << 12) | (value(i + 2) << 6) | value(i + 3);
    // What lies beyond the end is the padding; a typed array takes no notice of it.
    bytes[at++] = bits >> 16;
    bytes[at++] = (bits >> 8) & 255;
    bytes[at++] = bits & 255;
  }
  return bytes;
}
