/**
 * Looks at all plugin code as it begins: nobody else runs the step (G4), it has not completed already (G4), its run is not
 * over (G5), its inputs are what the steps before gave, and a result that waits at a reachable host is not computed again.
 */
import type { CodeEnd, CodeIdentity, CodeWitness } from '../hosts/plugin-code.ts';
import type { PlannedStep } from '../plan/flows.ts';
import type { World } from '../world/world.ts';
import { FINAL_FLOWS } from './store-check.ts';
import type { RunTruth, Truth } from './truth.ts';
import type { Violations } from './violation.ts';

export class CodeCheck implements CodeWitness {
  readonly #world: World;
  readonly #truth: Truth;
  readonly #violations: Violations;
  /** Whether this result could have been had, by any engine, ever since it was there. */
  readonly #wasReachable: (code: CodeIdentity, sinceMs: number) => boolean;
  /** token → stepId */
  readonly #stepOf = new Map<string, string>();
  /** Code that began, in all. */
  count = 0;

  constructor(options: {
    world: World;
    truth: Truth;
    violations: Violations;
    wasReachable: (code: CodeIdentity, sinceMs: number) => boolean;
  }) {
    this.#world = options.world;
    this.#truth = options.truth;
    this.#violations = options.violations;
    this.#wasReachable = options.wasReachable;
  }

  codeBegins(code: CodeIdentity): void {
    this.count++;
    const run = this.#truth.run(code.run);
    const name = `${code.run}: ${code.stepId}, attempt ${code.attempt} under ${code.epoch}`;
    this.#world.tell(code.host, `begins ${name}`);
    if (!run.isExcused) this.#check(run, code, name);
    run.codes.push({ code, beganMs: this.#world.nowMs, end: undefined });
  }

  codeEnds(code: CodeIdentity, end: CodeEnd): void {
    this.#world.tell(code.host, `ends ${code.run}: ${code.stepId}, attempt ${code.attempt}: ${end}`);
    const seen = this.#truth.run(code.run).codes.find((known) => known.code === code);
    if (seen !== undefined) seen.end = end;
  }

  asked(_run: string, stepId: string, token: string): void {
    this.#stepOf.set(token, stepId);
  }

  hostLost(run: string, token: string): void {
    const { hostLosses } = this.#truth.run(run);
    const stepId = this.#stepOf.get(token) ?? '';
    hostLosses.set(stepId, (hostLosses.get(stepId) ?? 0) + 1);
  }

  refused(run: string, stepId: string): void {
    const { refusals } = this.#truth.run(run);
    refusals.set(stepId, (refusals.get(stepId) ?? 0) + 1);
  }

  #check(run: RunTruth, code: CodeIdentity, name: string): void {
    if (FINAL_FLOWS.has(run.flow)) {
      this.#violations.report(run.flow === 'STOPPED' ? 'G5' : 'G4', `${name} begins, and the run is ${run.flow}`);
    }
    const status = run.steps.get(code.stepId);
    if (status !== 'RUNNING') this.#violations.report('G4', `${name} begins, and the step is ${status}`);
    for (const { code: other, end, beganMs } of run.codes) {
      if (other.stepId !== code.stepId) continue;
      if (end === undefined) {
        this.#violations.report(
          'G4',
          `${name} begins at ${code.host} beside attempt ${other.attempt} at ${other.host}`,
        );
      }
      if (end === 'completed' && this.#wasReachable(other, beganMs)) {
        this.#violations.report(
          'G4',
          `${name} begins, and the result of attempt ${other.attempt} waits at ${other.host}`,
        );
      }
    }
    const planned = run.flows.flatMap(({ steps }) => steps.find(({ stepId }) => stepId === code.stepId) ?? []);
    const matching = planned.filter(({ input }) => input === code.input);
    if (matching.length === 0) {
      const wanted = planned.map(({ input }) => `"${input}"`).join(' or ');
      this.#violations.report('G3', `${name} is given "${code.input}", not ${wanted}`);
    }
    const isEarly = ({ after }: PlannedStep) => after.some((before) => run.steps.get(before) !== 'COMPLETED');
    if (matching.length > 0 && matching.every(isEarly)) {
      this.#violations.report('G4', `${name} begins before ${matching[0]?.after.join(', ')}`);
    }
  }
}
