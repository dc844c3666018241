/** Cuts a stack down to the plugin's own frames: no frame of ours and no path of this machine leaves a worker. */

export const MAX_FRAMES = 10;
const MAX_NAME_LENGTH = 100;

/** @param file the name under which the bundle was compiled, "acme.hello.js". */
export function ownFrames(stack: string, file: string): string {
  const frames: string[] = [];
  for (const line of stack.split('\n')) {
    if (frames.length === MAX_FRAMES) break;
    const frame = readFrame(line, file);
    if (frame !== undefined) frames.push(frame);
  }
  return frames.join('\n');
}

function readFrame(line: string, file: string): string | undefined {
  const at = line.lastIndexOf(file);
  if (at < 0) return undefined;
  const position = /^:(\d{1,9}):(\d{1,9})\)?$/.exec(line.slice(at + file.length));
  const before = line.slice(0, at);
  const named = /^\s{0,8}at ([^()/\\]{1,200}) \($/.exec(before);
  const isPlain = /^\s{0,8}at (?:async )?$/.test(before);
  if (position === null || (named === null && !isPlain)) return undefined;
  const where = `${file}:${position[1]}:${position[2]}`;
  const name = named?.[1]?.slice(0, MAX_NAME_LENGTH);
  return name === undefined ? `    at ${where}` : `    at ${name} (${where})`;
}
