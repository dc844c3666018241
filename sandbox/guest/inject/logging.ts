/**
 * The plugin's logger and console: both end in one line to the worker. What is over the cap is dropped here and only
 * counted, so that a flood of lines does not cross the boundary line by line.
 */
import type { Logger } from '@flowops/sdk/context.ts';
import { toJsonText } from '@flowops/sdk/json-text.ts';
import { dateNow, SafeMap, toText } from '@flowops/sdk/primordials.ts';
import { cut } from '@flowops/sdk/thrown.ts';
import {
  HOST_OP,
  type HostFunction,
  MAX_DROPPED_LOG_LINES,
  MAX_LOG_FIELDS_LENGTH,
  MAX_LOG_MESSAGE_LENGTH,
} from '../guest-protocol.ts';
import { formatArguments, formatValue } from './format.ts';

type Level = 'debug' | 'info' | 'warn' | 'error';

/** Labels of count() and time() that are remembered. */
const MAX_LABELS = 1000;

export class GuestLog {
  readonly #host: HostFunction;
  #isFull = false;
  droppedLines = 0;

  constructor(host: HostFunction) {
    this.#host = host;
  }

  /** `make` is not called for a line that would be dropped. */
  line(level: Level, make: () => string, fieldsJson = ''): void {
    if (this.#isFull) {
      this.droppedLines++;
      if (this.droppedLines === MAX_DROPPED_LOG_LINES) this.#host(HOST_OP.logFlood);
      return;
    }
    if (this.#host(HOST_OP.log, level, cut(make(), MAX_LOG_MESSAGE_LENGTH), fieldsJson) === 1) {
      this.#isFull = true;
      this.droppedLines++;
    }
  }
}

export function createLogger(log: GuestLog): Logger {
  const at =
    (level: Level) =>
    (message: unknown, fields?: unknown): void =>
      log.line(level, () => (typeof message === 'string' ? message : formatValue(message)), fieldsText(fields));
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function fieldsText(fields: unknown): string {
  if (fields === undefined || fields === null) return '';
  const json = toJsonText(typeof fields === 'object' ? fields : { value: fields }, MAX_LOG_FIELDS_LENGTH);
  if (json.ok && json.text[0] === '{') return json.text;
  // Fields that are no JSON object (an array, a BigInt inside, too long) are kept as text rather than lost.
  const text = toJsonText({ fields: cut(formatValue(fields), MAX_LOG_FIELDS_LENGTH / 4) }, MAX_LOG_FIELDS_LENGTH);
  return text.ok ? text.text : '';
}

export function createConsole(log: GuestLog): object {
  const counts = new SafeMap<string, number>();
  const starts = new SafeMap<string, number>();
  const at =
    (level: Level) =>
    (...values: unknown[]): void =>
      log.line(level, () => formatArguments(values));
  const label = (value: unknown): string => (value === undefined ? 'default' : cut(toText(value), 200));
  const timeEnd = (name: unknown, isEnd: boolean): void => {
    const key = label(name);
    const start = starts.get(key);
    if (start === undefined) return;
    if (isEnd) starts.delete(key);
    log.line('info', () => `${key}: ${dateNow() - start} ms`);
  };
  const show = at('info');
  return {
    log: show,
    info: show,
    debug: at('debug'),
    warn: at('warn'),
    error: at('error'),
    trace: at('debug'),
    clear: () => undefined,
    dir: (value: unknown) => show(value),
    dirxml: show,
    table: (value: unknown) => show(value),
    group: (...values: unknown[]) => {
      if (values.length > 0) log.line('info', () => formatArguments(values));
    },
    groupCollapsed: (...values: unknown[]) => {
      if (values.length > 0) log.line('info', () => formatArguments(values));
    },
    groupEnd: () => undefined,
    assert: (isTrue: unknown, ...values: unknown[]) => {
      if (!isTrue) log.line('error', () => `Assertion failed: ${formatArguments(values)}`);
    },
    count: (name: unknown) => {
      const key = label(name);
      const count = (counts.get(key) ?? 0) + 1;
      if (count > 1 || counts.size < MAX_LABELS) counts.set(key, count);
      log.line('info', () => `${key}: ${count}`);
    },
    countReset: (name: unknown) => counts.delete(label(name)),
    time: (name: unknown) => {
      if (starts.size < MAX_LABELS) starts.set(label(name), dateNow());
    },
    timeLog: (name: unknown) => timeEnd(name, false),
    timeEnd: (name: unknown) => timeEnd(name, true),
  };
}
