/** What the commands of the sandbox print with `--json`; docs/schemas is made from it. Fields are only added. */
import { ERROR_CODES, type ErrorCode } from '@flowops/proto/errors.ts';
import { limitsSchema, receiptSchema } from '@flowops/proto/receipt.ts';
import { z } from 'zod';
import { countSchema, pinSchema } from '../ledger/plugin-ledger.ts';

// The table's own keys, which Object.keys only knows as strings.
const codeSchema = z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]);

const reportedLineSchema = z.strictObject({
  /** ISO-8601, UTC, host clock. */
  time: z.iso.datetime(),
  level: z.enum(['debug', 'info', 'warn', 'error']),
  message: z.string(),
  fields: z.record(z.string(), z.unknown()),
});

/** `sandbox run`. */
export const runReportSchema = z.strictObject({
  status: z.enum(['COMPLETED', 'FAILED']),
  code: codeSchema.nullable(),
  error: z.string().nullable(),
  outputs: z.record(z.string(), z.json()),
  logs: z.array(reportedLineSchema).readonly(),
  receipt: receiptSchema.nullable(),
});

/** `sandbox doctor`. */
export const doctorReportSchema = z.strictObject({
  ok: z.boolean(),
  checks: z
    .array(
      z.strictObject({
        /** Of the case, as the catalogue numbers it. */
        id: z.string(),
        tier: z.enum(['isolate', 'container', 'host']),
        runtime: z.enum(['isolated-vm', 'runc', 'runsc', 'node']),
        title: z.string(),
        ok: z.boolean(),
        /** What went wrong; empty when it passed. */
        detail: z.string(),
      }),
    )
    .readonly(),
  /** What this machine can enforce. */
  machine: z.array(z.strictObject({ name: z.string(), ok: z.boolean(), text: z.string() })).readonly(),
});

const problemSchema = z.strictObject({ file: z.string(), line: z.int(), key: z.string(), message: z.string() });

/** `policy check`. */
export const policyCheckReportSchema = z.strictObject({
  ok: z.boolean(),
  file: z.string(),
  policyHash: z.string().nullable(),
  problems: z.array(problemSchema).readonly(),
  /** What loads and is most likely not what was meant. */
  warnings: z.array(problemSchema).readonly(),
});

const decisionSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('run'),
    tier: z.enum(['isolate', 'container']),
    limits: limitsSchema,
    jail: z.enum(['required', 'none']),
    grants: z.strictObject({
      net: z.array(z.string()).readonly(),
      secrets: z.array(z.strictObject({ name: z.string(), hosts: z.array(z.string()).readonly() })).readonly(),
      wasm: z.boolean(),
    }),
    container: z.strictObject({
      runtime: z.enum(['runc', 'runsc']),
      pids: z.int(),
      cpus: z.number(),
      tmpfsMb: z.int(),
    }),
    concurrent: z.int(),
    freshness: z.enum(['isolate', 'context']),
    rule: z.string(),
    policyHash: z.string(),
    onViolation: z.strictObject({ demoteAfter: z.int(), countsWall: z.boolean() }).optional(),
    /** The policy does not name this pluginId: its first use does. */
    pinsName: z.boolean().optional(),
  }),
  z.strictObject({ kind: z.literal('refuse'), code: codeSchema, message: z.string() }),
]);

const pluginSchema = z.strictObject({
  pluginId: z.string(),
  name: z.string(),
  version: z.string(),
  digest: z.string(),
});

/** `policy explain`. */
export const policyExplainReportSchema = z.strictObject({
  plugin: z.strictObject({
    ...pluginSchema.shape,
    /** null = unsigned. */
    publisher: z.string().nullable(),
    /** Why a signature that is there does not count. */
    signatureProblem: z.string().nullable(),
  }),
  decision: decisionSchema,
  why: z.array(z.string()).readonly(),
  /** What the hosts of this FLOWOPS_HOME remember of it. */
  history: z.strictObject({
    agreedName: z.string().nullable(),
    violations: z.int(),
    demotion: z.strictObject({ violations: z.int(), code: codeSchema, since: z.iso.datetime() }).nullable(),
  }),
  /** YAML to paste below `rules:`, for these bytes alone; null when it is refused. */
  rule: z.string().nullable(),
});

const sideSchema = z.strictObject({ publisher: z.string().nullable(), decision: decisionSchema });
const policySideSchema = z.strictObject({ file: z.string().nullable(), policyHash: z.string() });

/** `policy diff`. */
export const policyDiffReportSchema = z.strictObject({
  old: policySideSchema,
  new: policySideSchema,
  /** How many published versions were looked at. */
  plugins: z.int(),
  changes: z
    .array(
      z.strictObject({
        plugin: pluginSchema,
        old: sideSchema,
        new: sideSchema,
        fields: z.array(z.strictObject({ field: z.string(), old: z.string(), new: z.string() })).readonly(),
      }),
    )
    .readonly(),
});

/** `policy demotions`. */
export const policyDemotionsReportSchema = z.strictObject({
  lifted: z.array(countSchema).readonly(),
  /** Those that are not enough for a demotion too. */
  counted: z.array(countSchema).readonly(),
});

/** `policy pins`. */
export const policyPinsReportSchema = z.strictObject({ pins: z.array(pinSchema).readonly() });

export type ReportedLine = z.output<typeof reportedLineSchema>;
export type RunReport = z.output<typeof runReportSchema>;
export type DoctorReport = z.output<typeof doctorReportSchema>;
export type PolicyCheckReport = z.output<typeof policyCheckReportSchema>;
export type PolicyExplainReport = z.output<typeof policyExplainReportSchema>;
export type PolicyDiffReport = z.output<typeof policyDiffReportSchema>;
export type PolicyDemotionsReport = z.output<typeof policyDemotionsReportSchema>;
export type PolicyPinsReport = z.output<typeof policyPinsReportSchema>;
