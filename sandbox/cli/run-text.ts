/**
 * What `sandbox run` prints: log lines as they come, the outputs, the receipt against its limits. Pure.
 * A plugin's text goes through showControls wherever a terminal may be.
 */
import type { LogLine } from '@flowops/proto/attempt.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import type { Receipt } from '@flowops/proto/receipt.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { ReportedLine } from './reports.ts';

/** Fields of one log line, on a terminal; `--json` has them whole. */
const MAX_FIELDS_CHARS = 2000;
const MIB = 1024 * 1024;
const DAY_MS = 86_400_000;
/** 31 December 9999: later ones have no four-digit year. The wire's times are 64 bits wide. */
const MAX_TIME_MS = Date.UTC(9999, 11, 31);

export function reportedLine({ timeMs, level, message, fields }: LogLine): ReportedLine {
  const time = new Date(Math.min(timeMs, MAX_TIME_MS)).toISOString();
  return { time, level, message, fields: fields ?? {} };
}

/** `12:00:00.123 warn  disk is nearly full  free=12 of="40 GB"`, in UTC like every time of ours. */
export function logText({ time, level, message, fields }: ReportedLine): string {
  const clock = time.slice('2026-01-01T'.length, -1);
  const parts = Object.entries(fields).map(([name, value]) => `${showControls(name)}=${fieldText(value)}`);
  const tail = parts.join(' ');
  const shownTail = tail.length > MAX_FIELDS_CHARS ? `${tail.slice(0, MAX_FIELDS_CHARS)}…` : tail;
  return `${clock} ${level.padEnd(5)} ${showControls(message)}${tail === '' ? '' : `  ${shownTail}`}`;
}

function fieldText(value: unknown): string {
  return showControls(typeof value === 'string' && /^[\w.:/-]+$/.test(value) ? value : JSON.stringify(value));
}

export function progressText({ fraction, message }: { fraction: number; message: string }): string {
  const percent = `${Math.round(Math.min(1, Math.max(0, fraction)) * 100)} %`;
  return message === '' ? percent : `${percent.padStart(5)}  ${showControls(message)}`;
}

export function outputsText(outputs: JsonObject): string {
  const entries = Object.entries(outputs);
  if (entries.length === 0) return 'no outputs';
  const width = Math.max(...entries.map(([name]) => showControls(name).length));
  return entries
    .map(([name, value]) => `${showControls(name).padEnd(width)} = ${showControls(JSON.stringify(value))}`)
    .join('\n');
}

/** Figures beside the limit they are held against; what nobody measured is said to be unknown. */
export function receiptText(receipt: Receipt): string {
  const { limits, sources } = receipt;
  const ofAll = receipt.tier === 'isolate' ? ' (of the whole worker)' : '';
  const told = (source: 'host' | 'worker') => (source === 'worker' ? ' (told by the worker)' : ofAll);
  const cpu = receipt.cpuMs === null ? 'not measured' : `${ms(receipt.cpuMs)}${told(sources.cpuMs)}`;
  const memory =
    receipt.peakMemoryBytes === null
      ? 'not measured'
      : `${mib(receipt.peakMemoryBytes)} MB${told(sources.peakMemoryBytes)}`;
  const dropped = receipt.droppedLogLines > 0 ? `, ${receipt.droppedLogLines} lines dropped` : '';
  const rows: [string, string][] = [
    ['ran in', `${receipt.tier} tier, ${jailText(receipt.jail)}, ${receipt.runtime}`],
    ['by', `${receipt.rule}, policy ${shortDigest(receipt.policyHash)}`],
    ['bundle', `${shortDigest(receipt.bundleDigest)}, ${signedText(receipt)}`],
    ...(receipt.imageDigest === null ? [] : [['image', shortDigest(receipt.imageDigest)] as [string, string]]),
    [
      'wall',
      `${ms(receipt.runMs)} of ${ms(limits.wallMs)} (queued ${ms(receipt.queueMs)}, start ${ms(receipt.startMs)})`,
    ],
    ['CPU', `${cpu} of ${ms(limits.cpuMs)}`],
    ['memory', `${memory} of ${limits.memoryMb} MB`],
    ['outputs', `${bytes(receipt.bytesOut)} of ${bytes(limits.outputBytes)}`],
    ['log', `at most ${bytes(limits.logBytes)}${dropped}`],
    ['host calls', `${receipt.hostCalls} of ${limits.hostCalls}`],
    ...receipt.net.map((use): [string, string] => ['network', netText(use)]),
    ...(receipt.secrets.length === 0
      ? []
      : [['secrets', receipt.secrets.map((name) => showControls(name)).join(', ')] as [string, string]]),
  ];
  return ['receipt', ...rows.map(([name, text]) => `  ${name.padEnd(10)}  ${text}`)].join('\n');
}

function signedText({ publisher, signatureProblem }: Receipt): string {
  if (publisher !== null) return `signed by ${showControls(publisher)}`;
  return signatureProblem === undefined ? 'unsigned' : `counts as unsigned: ${showControls(signatureProblem)}`;
}

function netText({ host, calls, bytesOut, bytesIn, ms: tookMs }: Receipt['net'][number]): string {
  const count = `${calls} ${calls === 1 ? 'call' : 'calls'}`;
  return `${showControls(host)}: ${count}, ${bytes(bytesOut)} out, ${bytes(bytesIn)} in, ${ms(tookMs)}`;
}

function jailText(jail: Receipt['jail']): string {
  switch (jail) {
    case 'namespaces':
      return 'jailed by namespaces';
    case 'container':
      return 'jailed in a container';
    case 'none':
      return 'NOT jailed (this machine cannot)';
  }
}

function shortDigest(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12);
}

function ms(value: number): string {
  if (value >= DAY_MS) return `${Math.round(value / DAY_MS)} d`;
  return value < 10 && !Number.isInteger(value) ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

function mib(value: number): string {
  return (value / MIB).toFixed(1);
}

function bytes(value: number): string {
  return value < 1024 ? `${value} bytes` : value < MIB ? `${(value / 1024).toFixed(1)} KB` : `${mib(value)} MB`;
}
