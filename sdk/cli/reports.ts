/** What the author's commands print with `--json`; docs/schemas is made from it. Fields are only added. */
import { digestSchema, pluginIdSchema } from '@flowops/proto/ids.ts';
import { manifestSchema, pluginNameSchema, versionSchema } from '@flowops/proto/manifest.ts';
import { z } from 'zod';

const keyIdSchema = z.string().regex(/^[0-9a-f]{16}$/, 'must be 16 hex digits');

/** `plugin build`. */
export const buildReportSchema = z.strictObject({
  /** Path of the bundle, as given with --out or relative to the working directory. */
  bundle: z.string(),
  digest: digestSchema,
  manifest: manifestSchema,
});

/** `plugin inspect`. */
export const inspectReportSchema = z.strictObject({
  /** As given. */
  plugin: z.string(),
  digest: digestSchema,
  manifest: manifestSchema,
});

/** `plugin publish`. */
export const publishReportSchema = z.strictObject({
  pluginId: pluginIdSchema,
  version: versionSchema,
  /** `PluginMetadata.id`: names this version in the plugin service. */
  id: z.uuid(),
  digest: digestSchema,
  /** Of the signature that went with it; null = unsigned. */
  keyId: keyIdSchema.nullable(),
  /** What flows get now that name no version; null: nothing, or the service did not say. */
  latest: versionSchema.nullable(),
});

/** `plugin withdraw`. */
export const withdrawReportSchema = z.strictObject({
  pluginId: pluginIdSchema,
  version: versionSchema,
  /** `PluginMetadata.id`: names this version in the plugin service. */
  id: z.uuid(),
  /** False: it was put back. */
  withdrawn: z.boolean(),
  /** What flows get now that name no version; null: nothing, or the service did not say. */
  latest: versionSchema.nullable(),
});

/** `keys new`. */
export const newKeyReportSchema = z.strictObject({
  /** As given with --out. */
  file: z.string(),
  /** The public key, as a policy names it. */
  key: z.string(),
  keyId: keyIdSchema,
});

/** `plugin sign`. */
export const signReportSchema = z.strictObject({
  /** As given. */
  bundle: z.string(),
  /** Path of the .sig file. */
  signature: z.string(),
  digest: digestSchema,
  name: pluginNameSchema,
  version: versionSchema,
  keyId: keyIdSchema,
});

export type BuildReport = z.output<typeof buildReportSchema>;
export type InspectReport = z.output<typeof inspectReportSchema>;
export type PublishReport = z.output<typeof publishReportSchema>;
export type WithdrawReport = z.output<typeof withdrawReportSchema>;
export type NewKeyReport = z.output<typeof newKeyReportSchema>;
export type SignReport = z.output<typeof signReportSchema>;

type Report = BuildReport | InspectReport | PublishReport | WithdrawReport | NewKeyReport | SignReport;

export function jsonLine(report: Report): string {
  return `${JSON.stringify(report)}\n`;
}
