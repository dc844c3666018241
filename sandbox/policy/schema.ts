/**
 * The schema of a sandbox policy (design 5.5), whole and closed. Shapes only: what keys mean together is checked in
 * rules-check.ts and publishers-check.ts, what this machine can enforce in machine.ts; lines come from document.ts.
 * Patterns of names follow proto/ids.ts: lower case, ASCII, so that no look-alike letter can match.
 */
import { parsePublicKey } from '@flowops/proto/bundle-signature.ts';
import { digestSchema, isPluginId } from '@flowops/proto/ids.ts';
import { versionSchema } from '@flowops/proto/manifest.ts';
import { hasRealPort, MAX_NET_GRANT_CHARS, MAX_PORT, NET_GRANT_FORM } from '@flowops/proto/net-grants.ts';
import semver from 'semver';
import { z } from 'zod';

/** More than a deployment writes by hand, few enough that every decision may walk through all of them. */
const MAX_RULES = 1000;
const MAX_ENTRIES = 10_000;
/** Unsigned 31-bit milliseconds: the longest wait of a Node timer, about 24 days. */
const MAX_TIMER_MS = 2 ** 31 - 1;

interface Bound {
  readonly min: number;
  readonly max: number;
  readonly minReason: string;
  readonly maxReason: string;
}

/** What a limit may be, and why; the machine narrows memoryMb further (machine.ts). */
export const LIMIT_BOUNDS = {
  memoryMb: {
    min: 8,
    max: 65_536,
    minReason: 'an isolate cannot be made with less',
    maxReason: 'V8 takes no larger heap',
  },
  cpuMs: {
    min: 50,
    max: MAX_TIMER_MS,
    minReason: 'CPU time is looked at every 50 ms',
    maxReason: 'no timer runs longer',
  },
  wallMs: {
    min: 10,
    max: MAX_TIMER_MS,
    minReason: 'a shorter limit ends steps before their first instruction',
    maxReason: 'no timer runs longer',
  },
  outputBytes: {
    min: 2,
    max: 15 * 1024 * 1024,
    minReason: 'the empty outputs {} have 2 bytes',
    maxReason: 'outputs travel in one message of at most 16 MiB, receipt included',
  },
  logBytes: {
    min: 0,
    max: 64 * 1024 * 1024,
    minReason: 'it is a count',
    maxReason: 'logs are kept with the run',
  },
  hostCalls: {
    min: 0,
    max: 1_000_000,
    minReason: 'it is a count',
    maxReason: 'the host counts and answers each of them',
  },
} as const satisfies Record<string, Bound>;

export type LimitName = keyof typeof LIMIT_BOUNDS;
// The table's own keys, which Object.keys only knows as strings.
export const LIMIT_NAMES = Object.keys(LIMIT_BOUNDS) as readonly LimitName[];

function whole({ min, max, minReason, maxReason }: Bound): z.ZodInt {
  return z
    .int('must be a whole number')
    .min(min, `must be at least ${min}: ${minReason}`)
    .max(max, `must be at most ${max}: ${maxReason}`);
}

const SECRET_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/;
/** `core.*`, `*` or one exact name. */
const PATTERN = /^(?:\*|[a-z0-9][a-z0-9._-]{0,127}\*?)$/;
const NAME = /^[a-z0-9][a-z0-9._-]{0,127}$/;

function explainPattern(text: string): string {
  const strange = [...text].find((char) => !/[A-Za-z0-9._*-]/.test(char));
  if (strange !== undefined) {
    const code = (strange.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
    return `holds the character U+${code}, which no plugin name has: names are a-z 0-9 . _ - (this can never match)`;
  }
  if (/[A-Z]/.test(text)) return 'names are lower case and matching is case-sensitive (this can never match)';
  if (/\*./.test(text)) return '* stands for any characters and only at the end';
  return 'must be a plugin name (1 to 128 characters of a-z 0-9 . _ - that begin with a letter or digit), a beginning of one and *, or *';
}

export function isSecretName(text: string): boolean {
  return SECRET_NAME.test(text);
}

const patternSchema = z.string().superRefine((text, context) => {
  if (!PATTERN.test(text)) context.addIssue(explainPattern(text));
});
const nameSchema = z.string().superRefine((text, context) => {
  if (!NAME.test(text)) context.addIssue(text.includes('*') ? 'must be one name, without *' : explainPattern(text));
});
const pluginIdSchema = z
  .string()
  .refine(
    isPluginId,
    'must be a pluginId: a UUID, or 1 to 128 characters of a-z 0-9 . _ - that begin with a letter or digit',
  );
const rangeSchema = z
  .string()
  .max(256)
  .superRefine((text, context) => {
    if (text.trim() === '' || semver.validRange(text) === null) {
      context.addIssue('must be a semver range like ">=1.2.0 <2.0.0", ^1.2.0 or 1.2.3');
    } else if (semver.minVersion(text) === null) {
      context.addIssue('no version is within this range (this can never match)');
    }
  });
const publisherNameSchema = z.string().regex(NAME, 'must be 1 to 128 characters of a-z 0-9 . _ -');
const PUBLIC_KEY = /^ed25519:[A-Za-z0-9+/]{43}=$/;
const publicKeySchema = z
  .string()
  .regex(PUBLIC_KEY, 'must be ed25519: and the base64 of the 32 bytes of the key')
  .superRefine((text, context) => {
    const parsed = PUBLIC_KEY.test(text) ? parsePublicKey(text) : undefined;
    if (parsed?.ok === false) context.addIssue(parsed.problem);
  });
const dateSchema = z.iso.date('must be a date like 2027-12-31');
const netSchema = z
  .string()
  .max(MAX_NET_GRANT_CHARS)
  .regex(NET_GRANT_FORM, 'must be host:port or private:host:port, the host in lower case')
  .refine(hasRealPort, `must have a port of 1 to ${MAX_PORT}`);
const secretNameSchema = z.string().regex(SECRET_NAME, 'must be a letter or _, then letters, digits, . _ -');
const tierSchema = z.enum(['isolate', 'container'], 'must be isolate or container');

const limitsSchema = z.strictObject({
  memoryMb: whole(LIMIT_BOUNDS.memoryMb).optional(),
  cpuMs: whole(LIMIT_BOUNDS.cpuMs).optional(),
  wallMs: whole(LIMIT_BOUNDS.wallMs).optional(),
  outputBytes: whole(LIMIT_BOUNDS.outputBytes).optional(),
  logBytes: whole(LIMIT_BOUNDS.logBytes).optional(),
  hostCalls: whole(LIMIT_BOUNDS.hostCalls).optional(),
});

const concurrentSchema = whole({
  min: 1,
  max: 1024,
  minReason: 'use deny to run none',
  maxReason: 'a host runs no more steps at a time',
});

const matchSchema = z.strictObject({
  plugin: patternSchema.optional(),
  id: pluginIdSchema.optional(),
  version: rangeSchema.optional(),
  digest: digestSchema.optional(),
  publisher: publisherNameSchema.optional(),
  unsigned: z.boolean('must be true or false').optional(),
});

const grantsSchema = z.strictObject({
  net: z.array(netSchema).max(MAX_ENTRIES).optional(),
  secrets: z
    .array(z.strictObject({ name: secretNameSchema, hosts: z.array(netSchema).max(MAX_ENTRIES) }))
    .max(MAX_ENTRIES)
    .optional(),
  wasm: z.boolean('must be true or false').optional(),
});

const containerSchema = z.strictObject({
  runtime: z.enum(['runc', 'runsc'], 'must be runc or runsc').optional(),
  pids: whole({
    min: 16,
    max: 32_768,
    minReason: 'a node process alone has that many threads',
    maxReason: 'the kernel counts no further by default',
  }).optional(),
  cpus: z.number().min(0.01, 'must be at least 0.01: the kernel shares out no less').max(1024).optional(),
  tmpfsMb: whole({
    min: 1,
    max: 65_536,
    minReason: 'leave the key out for the default',
    maxReason: 'it is memory',
  }).optional(),
});

const ruleSchema = z.strictObject({
  match: matchSchema,
  tier: tierSchema.optional(),
  deny: z
    .string('must be text that says why')
    .trim()
    .min(1, 'must say why')
    .max(1024, 'must have at most 1024 characters')
    .optional(),
  limits: limitsSchema.optional(),
  grants: grantsSchema.optional(),
  container: containerSchema.optional(),
  freshness: z.enum(['isolate', 'context'], 'must be isolate or context').optional(),
  jail: z.enum(['required', 'none'], 'must be required or none').optional(),
  concurrent: concurrentSchema.optional(),
  onViolation: z
    .strictObject({
      demote: whole({ min: 1, max: 1_000_000, minReason: 'it counts violations', maxReason: 'it counts violations' }),
    })
    .optional(),
});

const testSchema = z.strictObject({
  plugin: nameSchema,
  id: pluginIdSchema.optional(),
  version: versionSchema.optional(),
  digest: digestSchema.optional(),
  publisher: publisherNameSchema.optional(),
  expect: z.strictObject({
    tier: tierSchema.optional(),
    deny: z.boolean('must be true or false').optional(),
    limits: limitsSchema.optional(),
    net: z.array(netSchema).max(MAX_ENTRIES).optional(),
    secrets: z.array(secretNameSchema).max(MAX_ENTRIES).optional(),
    wasm: z.boolean('must be true or false').optional(),
    container: containerSchema.optional(),
    freshness: z.enum(['isolate', 'context'], 'must be isolate or context').optional(),
    jail: z.enum(['required', 'none'], 'must be required or none').optional(),
    concurrent: concurrentSchema.optional(),
  }),
});

export const policySchema = z.strictObject({
  version: z.literal(1, 'must be 1'),
  publishers: z
    .record(
      publisherNameSchema,
      z.strictObject({
        keys: z
          .array(z.strictObject({ key: publicKeySchema, notAfter: dateSchema.optional() }))
          .min(1, 'must hold at least one key')
          .max(MAX_ENTRIES),
        names: z.array(patternSchema).min(1, 'must hold at least one name').max(MAX_ENTRIES),
      }),
    )
    .optional(),
  revoked: z
    .strictObject({
      keys: z
        .array(z.union([publicKeySchema, z.string().regex(/^[0-9a-f]{16}$/)], 'must be a public key or a keyId'))
        .max(MAX_ENTRIES)
        .optional(),
      digests: z.array(digestSchema).max(MAX_ENTRIES).optional(),
    })
    .optional(),
  plugins: z.record(pluginIdSchema, nameSchema).optional(),
  minVersion: z.record(nameSchema, versionSchema).optional(),
  stopRunning: z.boolean('must be true or false').optional(),
  strictRuntimes: z.boolean('must be true or false').optional(),
  defaults: z
    .strictObject({
      tier: tierSchema.optional(),
      limits: limitsSchema.optional(),
      concurrent: concurrentSchema.optional(),
    })
    .optional(),
  rules: z.array(ruleSchema).max(MAX_RULES, `a policy has at most ${MAX_RULES} rules`).optional(),
  tests: z.array(testSchema).max(MAX_ENTRIES).optional(),
});

export type PolicyDocument = z.output<typeof policySchema>;
export type PolicyRule = z.output<typeof ruleSchema>;
export type PolicyMatch = z.output<typeof matchSchema>;
export type PolicyLimits = z.output<typeof limitsSchema>;
export type PolicyContainer = z.output<typeof containerSchema>;
export type PolicyTest = z.output<typeof testSchema>;
