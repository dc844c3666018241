/** The source map beside a bundle, made from esbuild's: it holds no sources' text and no path of this machine. */
import { sourceMapSchema } from '@flowops/proto/source-map.ts';
import type { SourceNames } from './source-names.ts';

/** esbuild's map with stable names, moved down by the manifest line. */
export function bundleSourceMap(esbuildMap: string, names: SourceNames): string {
  const map = sourceMapSchema.parse(JSON.parse(esbuildMap));
  return JSON.stringify({
    version: 3,
    sources: map.sources.map((source) => names.get(source) ?? source),
    names: map.names,
    mappings: `;${map.mappings}`,
  });
}
