/**
 * The forms in which a secret's value shows up in text by accident: as it is, inside JSON, inside a URL, and inside
 * base64 at any of its three alignments (`Authorization: Basic …`). Deterministic.
 *
 * A guard against accidents: whoever was given a secret and wants to hide it (reversed, encrypted, letter by letter)
 * can. Values shorter than MIN_LENGTH are not looked for: they would be found everywhere.
 */

/** Six characters are in no ordinary word by chance; a password that is worth the name has more. */
export const MIN_SECRET_LENGTH = 6;

/** Longest first, each once; empty for a value that is too short to look for. */
export function formsOf(value: string): string[] {
  if (value.length < MIN_SECRET_LENGTH) return [];
  const bytes = Buffer.from(value, 'utf8');
  const forms = [value, JSON.stringify(value).slice(1, -1), percentEncoded(value), formEncoded(value)];
  for (const alignment of [0, 1, 2] as const) forms.push(...base64Cores(bytes, alignment));
  const long = forms.filter((form) => form.length >= MIN_SECRET_LENGTH);
  return [...new Set(long)].sort((left, right) => right.length - left.length);
}

/** The characters of base64 that depend on nothing but the value, when `alignment` bytes stand before it. */
function base64Cores(bytes: Buffer, alignment: 0 | 1 | 2): string[] {
  const padded = Buffer.concat([Buffer.alloc(alignment), bytes]);
  const from = Math.ceil((alignment * 8) / 6);
  const to = Math.floor((padded.length * 8) / 6);
  return (['base64', 'base64url'] as const).map((encoding) => padded.toString(encoding).slice(from, to));
}

function percentEncoded(value: string): string {
  try {
    return encodeURIComponent(value);
  } catch {
    return value; // a lone surrogate has no UTF-8
  }
}

function formEncoded(value: string): string {
  return new URLSearchParams([['', value]]).toString().slice(1);
}
