/** Of what a process wrote to stderr before it ended, the line that says why. */

/** Mount's advice to look elsewhere, and the version that Node prints below an error. */
const NO_REASON = /^\s*(?:dmesg\(1\) may have|Node\.js v\d)/;

/** Empty when nothing was written. */
export function lastWordsOf(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  return lines.findLast((line) => line !== '' && !NO_REASON.test(line)) ?? '';
}
