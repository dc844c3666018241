/** A manifest for a person: name, digest, inputs, outputs, what it asks for. Texts of the plugin come through as they are. */
import type { InputDeclaration, Manifest } from '@flowops/proto/manifest.ts';

export function manifestText(manifest: Manifest, digest: string): string {
  const { name, version, description, runtime, permissions } = manifest;
  const inputs = Object.entries(manifest.inputs).map(([input, declared]) => [
    input,
    declared.type,
    needText(declared),
    oneLine(declared.description),
  ]);
  const outputs = Object.entries(manifest.outputs).map(([output, declared]) => [
    output,
    declared.type,
    '',
    oneLine(declared.description),
  ]);
  const widths = [0, 1, 2].map((column) =>
    Math.max(0, ...[...inputs, ...outputs].map((row) => row[column]?.length ?? 0)),
  );
  const lines = (rows: string[][]): string[] =>
    rows.length === 0
      ? ['  none']
      : rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd());
  return [
    `${name} ${version}${runtime === 'node' ? '   (runtime: node, container tier only)' : ''}`,
    ...(description === '' ? [] : [oneLine(description)]),
    digest,
    'inputs',
    ...lines(inputs),
    'outputs',
    ...lines(outputs),
    'asks for',
    `  network  ${permissions.net.join(', ') || 'none'}`,
    `  secrets  ${permissions.secrets.join(', ') || 'none'}`,
    '',
  ].join('\n');
}

function needText(input: InputDeclaration): string {
  if (input.default !== undefined) return `default ${JSON.stringify(input.default)}`;
  return input.required ? 'required' : 'optional';
}

function oneLine(text: string | undefined): string {
  return (text ?? '').replace(/\s+/g, ' ').trim();
}
