/** Bundles by hand, for the doctor and for tests: no step of the builder between the text of a case and what runs. */
import { digestOf } from '@flowops/proto/ids.ts';
import { formatManifestLine, type Manifest } from '@flowops/proto/manifest.ts';

export interface HostileBundle {
  readonly manifest: Manifest;
  readonly bytes: Buffer;
  readonly digest: string;
}

export function wholeBundle(manifest: Manifest, text: string): HostileBundle {
  const bytes = Buffer.from(`${formatManifestLine(manifest)}${text}`);
  return { manifest, bytes, digest: digestOf(bytes) };
}

/** A task made of its record, with `body` as that of its run function: `inputs`, `logger`, `context` are in its scope. */
export function moduleOf(body: string, manifest: Manifest, prologue = ''): string {
  const fields = (declared: Record<string, object>) =>
    Object.fromEntries(Object.entries(declared).map(([name, entry]) => [name, { ...entry, field: name }]));
  const record = {
    ...manifest,
    api: 1,
    kind: 'function',
    inputs: fields(manifest.inputs),
    outputs: fields(manifest.outputs),
    problems: [],
  };
  return `${prologue}
const record = ${JSON.stringify(record)};
export default {
  [Symbol.for('flowops.task')]: record,
  async run({ inputs, logger, context }) {
${body}
  },
};
`;
}
