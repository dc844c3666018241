/**
 * Plugins for end-to-end tests: builds those of test/fixtures/plugins in one sandbox host, writes bundles by hand that no
 * build of ours would make, and lays a registry folder out (`<pluginId>/<version>.js`) for `flowops registry serve`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startHostProcess } from '@flowops/proto/host-process.ts';
import { checkManifest, formatManifestLine } from '@flowops/proto/manifest.ts';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { type FlowopsProcess, startFlowops } from './service-process.ts';

export const PLUGIN_SOURCES = fileURLToPath(new URL('../fixtures/plugins/', import.meta.url));

/** The bundles of fixtures, by their name without `.ts`. */
export function buildFixtures<Name extends string>(names: readonly Name[]): Promise<Record<Name, Uint8Array>> {
  const files = names.map((name): [Name, string] => [name, join(PLUGIN_SOURCES, `${name}.ts`)]);
  return buildSources(Object.fromEntries(files) as Record<Name, string>); // one entry for each name
}

/** The bundles of plugins, by the names that their source files are given under. */
export async function buildSources<Name extends string>(
  files: Readonly<Record<Name, string>>,
): Promise<Record<Name, Uint8Array>> {
  const host = await startHostProcess({
    role: 'cli',
    instance: 'test',
    env: { ...process.env, LOG_LEVEL: 'error' },
    policy: { kind: 'developer' },
  });
  if (!host.ok) throw new Error(host.message);
  try {
    const built = Object.entries<string>(files).map(async ([name, file]): Promise<[string, Uint8Array]> => {
      const result = await buildPlugin(file, { sandbox: async () => host });
      if (!result.ok) throw new Error(result.message);
      return [name, result.bundle];
    });
    return Object.fromEntries(await Promise.all(built)) as Record<Name, Uint8Array>; // one entry for each name
  } finally {
    await host.host.close();
  }
}

/** A bundle with a true manifest line and any code below it. */
export function handMade(name: string, code: string): Uint8Array {
  const checked = checkManifest({ name, version: '1.0.0' });
  if (!checked.ok) throw new Error(checked.problem);
  return Buffer.from(`${formatManifestLine(checked.manifest)}${code}\n`);
}

/** @param bundles pluginId → bytes, each version 1.0.0. */
export function fillRegistry(dir: string, bundles: Readonly<Record<string, Uint8Array>>): void {
  for (const [pluginId, bytes] of Object.entries(bundles)) {
    mkdirSync(join(dir, pluginId), { recursive: true });
    writeFileSync(join(dir, pluginId, '1.0.0.js'), bytes);
  }
}

export interface Registry {
  /** `host:port`. */
  readonly address: string;
  readonly process: FlowopsProcess;
}

/** The real `flowops registry serve`. */
export async function startRegistry(dir: string): Promise<Registry> {
  const process = startFlowops(['registry', 'serve', '--dir', dir, '--port', '0'], { cwd: dir });
  const address = await process.stdout.until('the address of the registry', (lines) =>
    lines.map((line) => /^plugin service on ([^,]+),/.exec(line)?.[1]).find((found) => found !== undefined),
  );
  return { address, process };
}

export interface FixtureRegistry {
  /** `host:port`. */
  readonly address: string;
  close(): Promise<void>;
}

/** A registry of its own with these fixtures, each as `test.<name>`. */
export async function serveFixtures(names: readonly string[]): Promise<FixtureRegistry> {
  const dir = scratchFolder();
  const bundles = Object.entries(await buildFixtures(names));
  fillRegistry(dir, Object.fromEntries(bundles.map(([name, bytes]) => [`test.${name}`, bytes])));
  const { address, process } = await startRegistry(dir);
  return {
    address,
    close: async () => {
      await process.powerCut();
      removeFolder(dir);
    },
  };
}
