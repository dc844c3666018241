/** "Unexpected token (acme.hello.js:3:14)": V8's words and place, out of what Node writes above the stack. */

const MAX_LENGTH = 8 * 1024;

/** @param file the name under which the text was compiled. */
export function syntaxProblem(thrown: unknown, file: string): string {
  if (!isErrorLike(thrown)) return 'it cannot be read';
  const message = (thrown.message.split('\n', 1)[0] ?? '').slice(0, MAX_LENGTH);
  const [place = '', , marks = ''] = thrown.stack.split('\n', 3);
  const line = place.startsWith(`${file}:`) ? /^\d+$/.exec(place.slice(file.length + 1))?.[0] : undefined;
  const column = /^\s*\^+\s*$/.test(marks) ? marks.indexOf('^') + 1 : undefined;
  return line === undefined || column === undefined ? message : `${message} (${file}:${line}:${column})`;
}

/** Also one of another realm. */
function isErrorLike(thrown: unknown): thrown is { readonly message: string; readonly stack: string } {
  if (typeof thrown !== 'object' || thrown === null || !('message' in thrown) || !('stack' in thrown)) return false;
  return typeof thrown.message === 'string' && typeof thrown.stack === 'string';
}
