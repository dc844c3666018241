/** What the engine's commands print with `--json`; docs/schemas is made from it. Fields are only added. */
import { statusEventSchema } from '@flowops/proto/statuses.ts';
import { z } from 'zod';

/** The last line of `flowops run --json`. */
export const runResultSchema = z.object({
  eventType: z.literal('RUN_RESULT'),
  runId: z.string(),
  status: z.enum(['COMPLETED', 'FAILED', 'STOPPED']),
  /** stepId → output key → value, of every step that completed. */
  outputs: z.record(z.string(), z.record(z.string(), z.json())),
  error: z.string().nullable(),
  /** One of docs/errors.md. */
  code: z.string().nullable(),
});

/** One line of `flowops run --json`: the status events as they are published, then the result. */
export const runLineSchema = z.union([statusEventSchema, runResultSchema]);

/** `flowops validate --json`. */
export const validateReportSchema = z.strictObject({
  valid: z.boolean(),
  problems: z.array(z.string()).readonly(),
  warnings: z.array(z.string()).readonly(),
});

/** `flowops config --json`. */
export const configReportSchema = z.strictObject({
  settings: z.array(
    z.strictObject({
      name: z.string(),
      /** `***` for a secret, null when it is not set. */
      value: z.string().nullable(),
      source: z.enum(['flag', 'environment', 'file', 'default']),
      detail: z.string().optional(),
    }),
  ),
});

/** `flowops backup --json`. */
export const backupReportSchema = z.strictObject({
  file: z.string(),
  bytes: z.number(),
  runs: z.number(),
  /** Those that had not ended. */
  unfinished: z.number(),
});

export type BackupReport = Readonly<z.output<typeof backupReportSchema>>;
export type ValidateReport = Readonly<z.output<typeof validateReportSchema>>;
