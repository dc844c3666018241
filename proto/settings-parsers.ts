/**
 * How the text of a setting becomes a typed value: one zod schema for each kind of value, all from string.
 *
 * Every message completes the sentence "NAME must be …", so that the reader can name the setting in front of it.
 * A setting never changes its kind between the flag, the environment and the file: all three are read as text.
 */
import { z } from 'zod';

const MS_PER_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DURATION = /^(\d{1,12})(ms|s|m|h|d)$/;
const INTEGER = /^-?\d{1,15}$/;
/** A DNS name, an IPv4 address or a bracketed IPv6 address, then a port. */
const HOST_PORT = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?<!\.\.):(\d{1,5})$/;
/** What Kafka itself allows in a topic name. */
const TOPIC = /^[A-Za-z0-9._-]{1,249}$/;

export const text = z.string().min(1, 'some text');

/** PEM text or another value of several lines; kept as it is. */
export const multilineText = text;

export const filePath = z.string().min(1, 'a path');

export const topic = z.string().regex(TOPIC, 'a Kafka topic name: 1 to 249 characters of A-Z a-z 0-9 . _ -');

export const hostPort = z.string().refine(isHostPort, 'host:port, for example localhost:9092');

export const hostPorts = z
  .string()
  .transform(splitList)
  .refine((hosts) => hosts.length > 0 && hosts.every(isHostPort), 'host:port, or several with commas between them');

export const names = z
  .string()
  .transform(splitList)
  .refine((list) => list.length > 0, 'a name, or several with commas between them');

export const httpUrl = z.string().refine(isHttpUrl, 'an http:// or https:// address');

/** `redis://` or `rediss://`; cluster and sentinel give several hosts with commas between them. */
export const redisUrl = z
  .string()
  .refine(
    (value) => /^rediss?:\/\/[^\s,]+(?:,[^\s,]+)*$/.test(value),
    'redis://host:port or rediss://host:port (several hosts with commas between them)',
  );

/** Where a sandbox host listens or is reached. */
export const sandboxAddresses = z
  .string()
  .transform(splitList)
  .refine(
    (list) => list.length > 0 && list.every(isSandboxAddress),
    'unix:/path or tls://host:port (several with commas between them)',
  );

export const yesOrNo = z.string().transform((value, context): boolean => {
  const word = value.toLowerCase();
  if (word === 'true' || word === '1' || word === 'yes') return true;
  if (word === 'false' || word === '0' || word === 'no') return false;
  context.addIssue({ code: 'custom', message: 'true or false' });
  return z.NEVER;
});

export function choice<const Choices extends readonly [string, ...string[]]>(choices: Choices) {
  return z.enum(choices, `one of ${choices.join(', ')}`);
}

export function integer(bounds: { min: number; max: number }) {
  return z.string().transform((value, context): number => {
    const number = INTEGER.test(value) ? Number(value) : Number.NaN;
    if (number >= bounds.min && number <= bounds.max) return number;
    context.addIssue({ code: 'custom', message: `a whole number from ${bounds.min} to ${bounds.max}` });
    return z.NEVER;
  });
}

/** A duration with its unit (`7d`, `30s`, `500ms`), as milliseconds. */
export function duration(bounds: { min: string; max: string }) {
  return z.string().transform((value, context): number => {
    const ms = parseDuration(value);
    if (ms !== undefined && isWithin(ms, bounds)) return ms;
    const message = `a duration with its unit (ms, s, m, h, d) from ${bounds.min} to ${bounds.max}, for example 7d or 30s`;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}

/** A number of milliseconds, or a duration with its unit, as milliseconds. For names that end in `_MS`. */
export function milliseconds(bounds: { min: string; max: string }) {
  return z.string().transform((value, context): number => {
    const ms = /^\d{1,12}$/.test(value) ? Number(value) : parseDuration(value);
    if (ms !== undefined && isWithin(ms, bounds)) return ms;
    const message = `milliseconds, or a duration with its unit, from ${bounds.min} to ${bounds.max}`;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}

/** `7d`, `30s`, `500ms` as milliseconds; undefined when it is no duration. */
export function parseDuration(value: string): number | undefined {
  const match = DURATION.exec(value.trim());
  if (match === null) return undefined;
  const unitMs = MS_PER_UNIT[match[2] ?? ''];
  return unitMs === undefined ? undefined : Number(match[1]) * unitMs;
}

/** The shortest way to write it: `7d`, `90s`, `1500ms`. */
export function formatDuration(ms: number): string {
  const units = Object.entries(MS_PER_UNIT).toReversed();
  const [unit, unitMs] = units.find(([, each]) => ms >= each && ms % each === 0) ?? ['ms', 1];
  return `${ms / unitMs}${unit}`;
}

function isWithin(ms: number, bounds: { min: string; max: string }): boolean {
  return ms >= (parseDuration(bounds.min) ?? 0) && ms <= (parseDuration(bounds.max) ?? Number.MAX_SAFE_INTEGER);
}

function splitList(value: string): readonly string[] {
  const parts = value.split(',').map((part) => part.trim());
  return Object.freeze(parts.filter((part) => part !== ''));
}

function isHostPort(value: string): boolean {
  const port = Number(HOST_PORT.exec(value)?.[1]);
  return port >= 1 && port <= 65_535;
}

function isHttpUrl(value: string): boolean {
  return URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
}

function isSandboxAddress(value: string): boolean {
  if (value.startsWith('unix:')) return value.length > 'unix:'.length;
  return value.startsWith('tls://') && isHostPort(value.slice('tls://'.length));
}
