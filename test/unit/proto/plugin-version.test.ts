import { parseSteps } from '@flowops/proto/flow.ts';
import { versionSchema } from '@flowops/proto/manifest.ts';
import { pluginVersionProblem } from '@flowops/proto/plugin-version.ts';
import semver from 'semver';
import { describe, expect, test } from 'vitest';

const DIGEST = `sha256:${'0a'.repeat(32)}`;

describe('what a step can ask for', () => {
  test.each(['1.2.0', '0.0.0', '2.0.0-rc.1', '1.0.0-0.a-b', DIGEST])('%s names one version', (text) => {
    expect(pluginVersionProblem(text)).toBeUndefined();
  });

  test.each(['^1.2.0', '~1.2', '>=1.0.0 <2.0.0', '1.x', '1.2', '1', '*', '1.0.0 - 2.0.0', '1.0.0 || 2.0.0'])(
    '%s is a range, and told as one',
    (text) => {
      expect(semver.validRange(text)).not.toBeNull();
      expect(pluginVersionProblem(text)).toMatch(/is a range.*exactly.*leave it out/);
    },
  );

  test.each([
    ['latest', /leave it out/],
    ['v1.2.0', /write 1\.2\.0/],
    [' 1.2.0 ', /write 1\.2\.0/],
    [DIGEST.toUpperCase().replace('SHA256', 'sha256'), /lower case/],
    ['1.2.0+build', /no version/],
    ['0f2f3c1e-9a64-4a35-8a62-51f7d2f4ab01', /no version/],
  ])('%s is told what to write instead', (text, message) => {
    expect(pluginVersionProblem(text)).toMatch(message);
  });

  test('a megabyte of text is not told back', () => {
    expect(pluginVersionProblem('9'.repeat(1_000_000))?.length).toBeLessThan(400);
  });
});

describe('the pluginVersion of a flow', () => {
  const parse = (pluginVersion: unknown) => parseSteps([{ stepId: 'a', pluginId: 'core.hello', pluginVersion }]);

  test('is refused when the flow is read, with the step and what to write', () => {
    const parsed = parse('^1.0.0');
    expect(parsed.ok ? [] : parsed.problems).toEqual([
      expect.stringMatching(/^steps\[0\] \(a\): pluginVersion: "\^1\.0\.0" is a range/),
    ]);
  });

  test('is told to be written as text where YAML reads a number', () => {
    const parsed = parse(1);
    expect(parsed.ok ? [] : parsed.problems).toEqual([expect.stringMatching(/pluginVersion: must be text, in quotes/)]);
  });

  test.each([null, '', undefined])('may be left out: %j', (absent) => {
    const parsed = parse(absent);
    expect(parsed.steps[0]).not.toHaveProperty('pluginVersion');
    expect(parsed.ok).toBe(true);
  });
});

test.each(['1.0.0-01', '01.0.0', `${'9'.repeat(20)}.0.0`, '1.0.0-', '1.0.0-a..b', '1.0.0+b'])(
  'a manifest with the version %s is refused: it could not be compared with others',
  (text) => {
    expect(versionSchema.safeParse(text).success).toBe(false);
  },
);

test('what a manifest can have for a version is one for semver too', () => {
  for (const text of [
    '1.0.0',
    '999999999999999.0.0',
    '1.0.0-99999999999999999999',
    '1.0.0--',
    '0.0.0-0',
    '1.0.0-a.0.b-c',
  ]) {
    expect(versionSchema.safeParse(text).success, text).toBe(true);
    expect(semver.valid(text), text).toBe(text);
  }
});
