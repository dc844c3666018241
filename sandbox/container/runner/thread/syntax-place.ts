/**
 * Where a module's syntax error is. Node keeps that to itself; its inspector, asked from within the same thread, tells
 * it of a second try. Only called before any line of a plugin has run, for a bundle that is refused anyway.
 */
import type inspector from 'node:inspector';

/** @returns "3:14", line and column from 1; undefined when it cannot be found out. */
export function syntaxPlace(compileAgain: () => void): string | undefined {
  const { Session } = process.getBuiltinModule('node:inspector');
  const session = new Session();
  const name = '__flowopsCompileAgain';
  let details: inspector.Runtime.ExceptionDetails | undefined;
  try {
    session.connect();
    Reflect.set(globalThis, name, compileAgain);
    session.post('Runtime.evaluate', { expression: `${name}()`, silent: true }, (_error, answer) => {
      details = answer?.exceptionDetails;
    });
  } catch {
    // A Node without an inspector.
    return undefined;
  } finally {
    Reflect.deleteProperty(globalThis, name);
    session.disconnect();
  }
  return details === undefined ? undefined : `${details.lineNumber + 1}:${details.columnNumber + 1}`;
}
