/**
 * What a container was asked for against what Docker says it applied, field by field. A difference is a gap; a
 * container with one gets no step. A daemon leaves out what its kernel cannot do (limits of memory, swap, pids) and
 * says so only here. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { containerConfig, hostConfig, type SpecOptions } from './hardening.ts';

/** Of the daemon's own defaults, which we do not replace: these files must be among the hidden ones. */
const MASKED_PATHS = [
  '/proc/kcore',
  '/proc/keys',
  '/proc/timer_list',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
];
const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const inspectedSchema = z.object({
  Image: z.string(),
  AppArmorProfile: z.string().default(''),
  Mounts: z.array(z.unknown()).nullish(),
  Config: z.record(z.string(), z.unknown()),
  HostConfig: z.record(z.string(), z.unknown()),
});

/** Names of the options that are not in force, "HostConfig.Memory" for one; empty when all are. */
export function hardeningGaps(inspected: unknown, options: SpecOptions): string[] {
  const read = inspectedSchema.safeParse(inspected);
  if (!read.success) return ['the answer of inspect'];
  const { Image, AppArmorProfile, Mounts, Config, HostConfig } = read.data;
  const gaps = [
    ...differences('Config', containerConfig(options), Config),
    ...differences('HostConfig', hostConfig(options), HostConfig),
  ];
  if (Image !== options.shape.imageId) gaps.push('Image');
  if ((Mounts ?? []).length > 0) gaps.push('Mounts');
  if (options.hasAppArmor && AppArmorProfile !== 'docker-default') gaps.push('AppArmorProfile');
  if (!holdsAll(HostConfig.MaskedPaths, MASKED_PATHS)) gaps.push('HostConfig.MaskedPaths');
  if (!holdsAll(HostConfig.ReadonlyPaths, READONLY_PATHS)) gaps.push('HostConfig.ReadonlyPaths');
  return gaps;
}

function differences(where: string, asked: Record<string, unknown>, applied: Record<string, unknown>): string[] {
  return Object.keys(asked)
    .filter((field) => !isApplied(field, asked[field], applied[field]))
    .map((field) => `${where}.${field}`);
}

function isApplied(field: string, asked: unknown, applied: unknown): boolean {
  // The image's own labels come on top.
  if (field === 'Labels') return isDeepStrictEqual({ ...Object(applied), ...Object(asked) }, Object(applied));
  return isDeepStrictEqual(plain(asked), plain(applied));
}

/** Docker writes nothing as null, "", [], {} or false, as it likes. */
function plain(value: unknown): unknown {
  if (value === null || value === '' || value === false) return undefined;
  if (Array.isArray(value)) return value.length === 0 ? undefined : value;
  if (typeof value === 'object' && value !== undefined && Object.keys(value).length === 0) return undefined;
  return value;
}

function holdsAll(value: unknown, wanted: readonly string[]): boolean {
  return Array.isArray(value) && wanted.every((entry) => value.includes(entry));
}
