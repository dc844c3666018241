import { describe, expect, it } from 'vitest';
import { countReport } from '../../../bin/stages.mjs';

interface ReportedTest {
  status: string;
  fullName: string;
  meta?: { skipReason?: string };
}

function report(assertionResults: readonly ReportedTest[], file: { status?: string; message?: string } = {}): object {
  return { testResults: [{ name: 'a.test.ts', status: 'passed', message: '', ...file, assertionResults }] };
}

const passed = { status: 'passed', fullName: 'a' };

describe('the count of a stage', () => {
  it('is what passed and what failed', () => {
    const counts = countReport(report([passed, { status: 'failed', fullName: 'b' }], { status: 'failed' }), undefined);
    expect(counts).toEqual({ passed: 1, failed: 1, problems: [] });
  });

  it('has a skipped test as a failure when it does not say why', () => {
    const counts = countReport(report([passed, { status: 'skipped', fullName: 'b' }]), undefined);
    expect(counts).toMatchObject({ passed: 1, failed: 1, problems: [expect.stringContaining('does not say why')] });
  });

  it('prints a skipped test that says why, and counts it as neither', () => {
    const skipped = { status: 'skipped', fullName: 'b', meta: { skipReason: 'needs Docker' } };
    const counts = countReport(report([passed, skipped]), undefined);
    expect(counts).toEqual({ passed: 1, failed: 0, problems: ['skipped: b: needs Docker'] });
  });

  it.each(['pending', 'todo', 'skipped'])('has a test left %s as a failure', (status) => {
    expect(countReport(report([passed, { status, fullName: 'b' }]), undefined).failed).toBe(1);
  });

  it('has a file that could not be loaded as a failure', () => {
    const counts = countReport(report([], { status: 'failed', message: 'Cannot find module' }), 'vitest ended with 1');
    expect(counts).toMatchObject({ passed: 0, failed: 1, problems: [expect.stringContaining('Cannot find module')] });
  });

  it('has a stage without any test as a failure', () => {
    expect(countReport({ testResults: [] }, undefined)).toMatchObject({ failed: 1, problems: ['no test ran'] });
  });

  it('has a missing report as a failure', () => {
    expect(countReport(undefined, 'vitest ended with SIGKILL')).toEqual({
      passed: 0,
      failed: 1,
      problems: ['vitest ended with SIGKILL'],
    });
  });

  it('has an error outside of every test as a failure', () => {
    expect(countReport(report([passed]), 'vitest ended with 1')).toMatchObject({ passed: 1, failed: 1 });
  });
});
