/** The reference pages say what the tables in the code say. */
import { readFileSync } from 'node:fs';
import { ERROR_ADVICE } from '@flowops/proto/error-advice.ts';
import { ERROR_CODES } from '@flowops/proto/errors.ts';
import { SETTING_NAMES } from '@flowops/proto/settings.ts';
import { describe, expect, it } from 'vitest';
import { referencePages } from '../../../bin/reference.ts';
import { ROOT } from './project-files.ts';

describe('the reference pages', () => {
  it.each(Object.keys(referencePages()))('%s is what `npm run docs` writes', (path) => {
    expect(readFileSync(`${ROOT}/${path}`, 'utf8')).toBe(referencePages()[path]);
  });

  it('tell every setting', () => {
    const page = readFileSync(`${ROOT}/docs/settings.md`, 'utf8');
    expect(SETTING_NAMES.filter((name) => !page.includes(`| \`${name}\` |`))).toEqual([]);
  });

  it('tell every error code', () => {
    const page = readFileSync(`${ROOT}/docs/errors.md`, 'utf8');
    expect(Object.keys(ERROR_CODES).filter((code) => !page.includes(`| \`${code}\` |`))).toEqual([]);
  });

  it('tell for every error code what to do about it', () => {
    const page = readFileSync(`${ROOT}/docs/errors.md`, 'utf8');
    for (const [code, advice] of Object.entries(ERROR_ADVICE)) {
      expect(page).toContain(`### ${code}\n`);
      expect(advice.length).toBeGreaterThan(0);
      for (const { cause, action } of advice) {
        expect(`${cause}${action}`).not.toMatch(/[|\n]/);
        expect(page).toContain(`| ${cause} | ${action} |`);
      }
    }
  });
});
