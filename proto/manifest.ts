/**
 * The manifest of a plugin: what its code declares, and the first line of its bundle (design 6.1).
 * A bundle is one JavaScript file whose first line is `//! flowops-plugin {manifest JSON}`.
 */
import { z } from 'zod';
import type { Json } from './json.ts';
import { parseJson } from './json.ts';

/** The words of `@Input` and `@Output`. On the old gRPC service `json` is told as STRING. */
export const VALUE_TYPES = ['string', 'integer', 'float', 'boolean', 'json'] as const;
export type ValueType = (typeof VALUE_TYPES)[number];
export const valueTypeSchema = z.enum(VALUE_TYPES);

export const BUNDLE_LINE_PREFIX = '//! flowops-plugin ';
/** Cap of a bundle, bytes (design 6.1). */
export const MAX_BUNDLE_BYTES = 16 * 1024 * 1024;
/** The manifest line is read before anything else; longer than this is no manifest of ours. */
export const MAX_MANIFEST_BYTES = 256 * 1024;

const FIELD_NAME = /^[A-Za-z_$][A-Za-z0-9_$-]{0,127}$/;
const fieldNameSchema = z.string().regex(FIELD_NAME, 'must be a letter, _ or $, then letters, digits, _ $ -');
/**
 * semver 2.0.0, https://semver.org, without the build part: only versions that can be compared. A number has no leading
 * zero, and at most the 15 digits that a double holds exactly.
 */
const VERSION =
  /^(?:0|[1-9]\d{0,14})(?:\.(?:0|[1-9]\d{0,14})){2}(?:-(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?$/;
export const versionSchema = z.string().max(64).regex(VERSION, 'must be a semantic version like 1.0.0');
export const pluginNameSchema = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._-]{0,127}$/,
    'must be 1 to 128 characters of a-z 0-9 . _ - that begin with a letter or digit',
  );

const inputSchema = z.strictObject({
  type: valueTypeSchema,
  required: z.boolean().default(true),
  default: z.json().optional(),
  description: z.string().max(1024).optional(),
});
const outputSchema = z.strictObject({ type: valueTypeSchema, description: z.string().max(1024).optional() });

export const manifestSchema = z.strictObject({
  name: pluginNameSchema,
  version: versionSchema,
  description: z.string().max(4096).default(''),
  runtime: z.literal('node').optional(),
  permissions: z
    .strictObject({
      net: z.array(z.string().max(300)).max(100).default([]),
      secrets: z.array(z.string().max(128)).max(100).default([]),
    })
    .default({ net: [], secrets: [] }),
  inputs: z.record(fieldNameSchema, inputSchema).default({}),
  outputs: z.record(fieldNameSchema, outputSchema).default({}),
});

export type Manifest = z.output<typeof manifestSchema>;
export type InputDeclaration = Manifest['inputs'][string];
export type OutputDeclaration = Manifest['outputs'][string];

export type ReadManifest = { ok: true; manifest: Manifest } | { ok: false; problem: string };

/** Checks a parsed JSON value. The problem names each wrong place. */
export function checkManifest(value: unknown): ReadManifest {
  const checked = manifestSchema.safeParse(value);
  if (checked.success) return { ok: true, manifest: checked.data };
  const problems = checked.error.issues.map((issue) => `${issue.path.join('.') || 'manifest'}: ${issue.message}`);
  return { ok: false, problem: problems.join('; ') };
}

/** Reads the first line of a bundle and nothing else of it. */
export function readBundleManifest(bundle: Uint8Array): ReadManifest {
  if (bundle.length === 0) return { ok: false, problem: 'the bundle is empty' };
  if (bundle.length > MAX_BUNDLE_BYTES) {
    return { ok: false, problem: `the bundle has ${bundle.length} bytes; at most ${MAX_BUNDLE_BYTES} are allowed` };
  }
  // A Java archive is a zip file: "PK\3\4". The old plugin service holds those.
  if (bundle[0] === 0x50 && bundle[1] === 0x4b && bundle[2] === 3 && bundle[3] === 4) {
    return {
      ok: false,
      problem:
        'this is a Java archive (JAR) of the former engine; this engine runs JavaScript bundles made by `flowops plugin build`',
    };
  }
  const head = Buffer.from(bundle.buffer, bundle.byteOffset, Math.min(bundle.length, MAX_MANIFEST_BYTES));
  const end = head.indexOf(0x0a);
  const line = head.subarray(0, end < 0 ? head.length : end).toString('utf8');
  if (!line.startsWith(BUNDLE_LINE_PREFIX)) {
    return {
      ok: false,
      problem: `the first line does not begin with "${BUNDLE_LINE_PREFIX.trim()}"; build it with \`flowops plugin build\``,
    };
  }
  if (end < 0) return { ok: false, problem: 'the manifest line has no end' };
  const parsed = parseJson(line.slice(BUNDLE_LINE_PREFIX.length));
  if (!parsed.ok) return { ok: false, problem: `the manifest line is not JSON: ${parsed.problem}` };
  return checkManifest(parsed.value);
}

/** The first line of a bundle, line feed included. Keys keep their order, so equal manifests give equal bytes. */
export function formatManifestLine(manifest: Manifest): string {
  return `${BUNDLE_LINE_PREFIX}${JSON.stringify(manifest)}\n`;
}

/**
 * Reads a value as a declared type. Text is read as the type says (`"3"` is the integer 3, json is parsed);
 * a value that already has the type is kept. `undefined` stands for "does not fit".
 */
export function coerceValue(value: Json, type: ValueType): Json | undefined {
  switch (type) {
    case 'string':
      if (typeof value === 'string') return value;
      return typeof value === 'object' ? JSON.stringify(value) : String(value);
    case 'integer': {
      const number = typeof value === 'string' ? numberFromText(value) : value;
      return typeof number === 'number' && Number.isSafeInteger(number) ? number : undefined;
    }
    case 'float': {
      const number = typeof value === 'string' ? numberFromText(value) : value;
      return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
    }
    case 'boolean':
      if (typeof value === 'boolean') return value;
      if (typeof value !== 'string') return undefined;
      return { true: true, false: false }[value.trim().toLowerCase()];
    case 'json': {
      if (typeof value !== 'string') return value;
      const parsed = parseJson(value);
      return parsed.ok ? parsed.value : value; // text that is no JSON is the JSON string
    }
  }
}

function numberFromText(text: string): number | undefined {
  const trimmed = text.trim();
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(trimmed) ? Number(trimmed) : undefined;
}
