/** `console` as a task has it: each line goes to its logger, and nothing is printed. */
import { format } from 'node:util';
import type { Logger } from '../context.ts';

export function createTestConsole(logger: Logger): object {
  const at =
    (level: keyof Logger) =>
    (...values: unknown[]): void =>
      logger[level](format(...values));
  const info = at('info');
  const group = (...values: unknown[]): void => {
    if (values.length > 0) info(...values);
  };
  const counts = new Map<string, number>();
  const starts = new Map<string, number>();
  const label = (value: unknown): string => (value === undefined ? 'default' : String(value));
  const timeLog = (name: unknown): void => {
    const start = starts.get(label(name));
    if (start !== undefined) info(`${label(name)}: ${Math.round(performance.now() - start)} ms`);
  };
  return {
    log: info,
    info,
    debug: at('debug'),
    trace: at('debug'),
    warn: at('warn'),
    error: at('error'),
    dir: (value: unknown) => info(value),
    dirxml: info,
    table: (value: unknown) => info(value),
    group,
    groupCollapsed: group,
    groupEnd: () => undefined,
    clear: () => undefined,
    assert: (isTrue: unknown, ...values: unknown[]) => {
      if (!isTrue) logger.error(`Assertion failed: ${format(...values)}`);
    },
    count: (name: unknown) => {
      const count = (counts.get(label(name)) ?? 0) + 1;
      counts.set(label(name), count);
      info(`${label(name)}: ${count}`);
    },
    countReset: (name: unknown) => void counts.delete(label(name)),
    time: (name: unknown) => void starts.set(label(name), performance.now()),
    timeLog,
    timeEnd: (name: unknown) => {
      timeLog(name);
      starts.delete(label(name));
    },
  };
}
