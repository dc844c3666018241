/** What the author's commands print with `--json`; docs/schemas is made from it. Fields are only added. */
import { digestSchema, pluginIdSchema } from '@flowops/proto/ids.ts';
import { manifestSchema, versionSchema } from '@flowops/proto/manifest.ts';
import { z } from 'zod';

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
});

export type BuildReport = z.output<typeof buildReportSchema>;
export type InspectReport = z.output<typeof inspectReportSchema>;
export type PublishReport = z.output<typeof publishReportSchema>;

export function jsonLine(report: BuildReport | InspectReport | PublishReport): string {
  return `${JSON.stringify(report)}\n`;
}
