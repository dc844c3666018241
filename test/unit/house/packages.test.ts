import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { projectFiles, readProjectFile } from './project-files.ts';

const EXACT = /^\d+\.\d+\.\d+(?:-[\w.]+)?$/;
/** The types of Node follow its major release. */
const RANGES: Readonly<Record<string, string>> = { '@types/node': '24' };

const versionsSchema = z.record(z.string(), z.string()).default({});
const packageSchema = z.looseObject({
  version: z.string(),
  workspaces: z.array(z.string()).default([]),
  scripts: versionsSchema,
  dependencies: versionsSchema,
  devDependencies: versionsSchema,
  allowScripts: z.record(z.string(), z.boolean()).default({}),
});
const lockSchema = z.object({
  packages: z.record(z.string(), z.looseObject({ hasInstallScript: z.boolean().default(false) })),
});

const readPackage = (path: string) => packageSchema.parse(JSON.parse(readProjectFile(path)));
const root = readPackage('package.json');
const packages = ['.', ...root.workspaces].map((folder) => ({ folder, ...readPackage(`${folder}/package.json`) }));

describe('the packages', () => {
  it('are asked for in exact versions, the same everywhere', () => {
    const versions = new Map<string, Set<string>>();
    for (const { dependencies, devDependencies } of packages) {
      for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
        versions.set(name, (versions.get(name) ?? new Set()).add(version));
      }
    }
    const wrong = [...versions].filter(
      ([name, found]) =>
        found.size > 1 || [...found].some((version) => !EXACT.test(version) && RANGES[name] !== version),
    );
    expect(wrong.map(([name, found]) => `${name}: ${[...found].join(', ')}`)).toEqual([]);
  });

  it('with an install script are named in allowScripts, which npm 12 asks for', () => {
    const lock = lockSchema.parse(JSON.parse(readProjectFile('package-lock.json')));
    const withScript = Object.entries(lock.packages)
      .filter(([, { hasInstallScript }]) => hasInstallScript)
      .map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
    expect(withScript.length).toBeGreaterThan(0);
    expect(withScript.filter((name) => root.allowScripts[name] === undefined)).toEqual([]);
  });

  it('of ours have one version', () => {
    expect(new Set(packages.map(({ version }) => version)).size).toBe(1);
  });
});

describe('the npm scripts', () => {
  it('start files that exist', () => {
    const files = Object.values(root.scripts).flatMap((script) => script.match(/\b[\w/-]+\.(?:mjs|ts)\b/g) ?? []);
    expect(files.length).toBeGreaterThan(0);
    expect(files.filter((file) => !projectFiles().includes(file))).toEqual([]);
  });
});
