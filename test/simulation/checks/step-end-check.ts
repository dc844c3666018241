/**
 * How a step ended, against what its code really did: COMPLETED only with what an attempt gave (G4), FAILED only for what
 * the plugin did itself; a fault of ours fails a step only when its own budget is spent (G9).
 */
import { z } from 'zod';
import { outputOf } from '../hosts/plugin-code.ts';
import type { Row } from '../store/store-data.ts';
import type { RunTruth, Truth } from './truth.ts';
import type { Violations } from './violation.ts';

const endSchema = z.object({ status: z.string(), code: z.string().optional(), error: z.string().optional() });
/** Of the infrastructure's faults, before a step may fail for them. */
const FAULTS_ALLOWED = 5;
/** Hosts that died under a step, before it may be called their killer. */
const CRASHES_ALLOWED = 3;

export function checkStepEnd(end: {
  readonly truth: Truth;
  readonly run: RunTruth;
  readonly stepId: string;
  readonly record: string;
  readonly row: Row;
  readonly report: Violations;
}): void {
  const { truth, run, stepId, record, row, report } = end;
  const { status, code, error } = endSchema.parse(JSON.parse(record));
  const ran = run.codes.filter((seen) => seen.code.stepId === stepId);
  const about = `${run.key}: step ${stepId}`;
  if (status === 'COMPLETED') {
    const outputs = ran
      .filter((seen) => seen.end === 'completed')
      .map((seen) => JSON.stringify(outputOf(stepId, seen.code.input)));
    const stored = row.outputs.get(`${stepId}.text`);
    if (stored === undefined || !outputs.includes(stored)) {
      report.report('G4', `${about} is COMPLETED with ${stored}; its code gave ${outputs.join(', ') || 'nothing'}`);
    }
    return;
  }
  if (status !== 'FAILED') return;
  const hostsLost = run.hostLosses.get(stepId) ?? 0;
  switch (code) {
    case 'PLUGIN_ERROR':
      if (!ran.some((seen) => seen.end === 'failed'))
        report.report('G9', `${about} is FAILED, but no code of it failed`);
      return;
    case 'LIMIT_WALL':
      if (!ran.some((seen) => seen.end === 'wall'))
        report.report('G9', `${about} is FAILED by a limit it did not reach`);
      return;
    case 'SANDBOX_CRASHED':
      if (hostsLost < CRASHES_ALLOWED)
        report.report('G9', `${about} is FAILED as a killer of hosts; ${hostsLost} died`);
      return;
    case 'SANDBOX_UNAVAILABLE':
      if (truth.faults(run, stepId) < FAULTS_ALLOWED) {
        report.report('G9', `${about} is FAILED for faults of ours: ${truth.faults(run, stepId)} (${error})`);
      }
      return;
    default:
      report.report('G9', `${about} is FAILED with ${code}: ${error}`);
  }
}
