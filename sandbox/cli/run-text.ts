/**
 * What `sandbox run` prints beside log lines: progress, the outputs, the receipt against its limits. Pure.
 * A plugin's text goes through showControls wherever a terminal may be.
 */
import type { JsonObject } from '@flowops/proto/json.ts';
import type { Receipt } from '@flowops/proto/receipt.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';

const MIB = 1024 * 1024;
const DAY_MS = 86_400_000;

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
