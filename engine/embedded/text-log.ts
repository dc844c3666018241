/** The engine's log as plain lines on stderr, for commands a person types: warnings and errors only. */
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { Log } from '../log.ts';

export function textLog(err: (text: string) => void): Log {
  const say = (level: string) => (fields: object, message: string) => {
    const shown = Object.entries(fields)
      .filter(([name, value]) => name !== 'err' && typeof value !== 'object')
      .map(([name, value]) => `${name}=${String(value)}`)
      .join(' ');
    err(`${level}: ${showControls(message)}${shown === '' ? '' : ` (${showControls(shown)})`}\n`);
  };
  const ignore = () => undefined;
  return { debug: ignore, info: ignore, warn: say('warning'), error: say('error') };
}
