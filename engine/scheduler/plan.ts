/**
 * From the steps as written to a definition that can be scheduled, or every problem at once (design 4.3): duplicate
 * ids, unknown steps, cycles with their path, unknown plugins, references that name nothing, missing or ill-typed
 * inputs, and features that this release does not run. Pure: plugins are resolved before, by runs/planning.ts.
 */

import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { WrittenStep } from '@flowops/proto/flow.ts';
import { nearestName } from '@flowops/proto/ids.ts';
import type { Json, JsonObject } from '@flowops/proto/json.ts';
import { coerceValue, type InputDeclaration } from '@flowops/proto/manifest.ts';
import type { ResolveResult } from '@flowops/proto/plugin-source.ts';
import type { FlowDefinition, PinnedPlugin, PlannedStep } from './definition.ts';
import { findCycle } from './graph.ts';
import { parseTemplate, type Reference, referencesOf, stringsOf } from './references.ts';

/** A reader needs no more than this to see what is wrong, and an event must stay small. */
export const MAX_PROBLEMS_TOLD = 50;

export type PlanResult =
  | { readonly ok: true; readonly definition: FlowDefinition; readonly warnings: readonly string[] }
  /** `code`: what a retry can hope for. FLOW_INVALID unless nothing but the plugins themselves is in the way. */
  | { readonly ok: false; readonly code: ErrorCode; readonly problems: readonly string[] };

/** What names the version of a plugin that a step wants: the key of `PlanRequest.plugins`. */
export function pluginKey(step: Pick<WrittenStep, 'pluginId' | 'pluginVersion'>): string {
  return `${step.pluginId ?? ''}@${step.pluginVersion ?? ''}`;
}

export interface PlanRequest {
  readonly steps: readonly WrittenStep[];
  /** What is wrong with steps that could not be read, and their ids: told with all the rest. */
  readonly unreadable?: { readonly problems: readonly string[]; readonly ids: ReadonlySet<string> };
  readonly inputs: JsonObject;
  /** By `pluginKey`, what the plugin source answered. Absent keys are not looked at (as in a check without plugins). */
  readonly plugins: ReadonlyMap<string, ResolveResult>;
}

export function planFlow(request: PlanRequest): PlanResult {
  const { problems: unread, ids: unreadable } = request.unreadable ?? { problems: [], ids: new Set<string>() };
  const problems: string[] = [...unread];
  const warnings: string[] = [];
  if (request.steps.length === 0 && unread.length === 0) problems.push('the flow has no steps');
  for (const step of request.steps) problems.push(...refuseLaterFeatures(step));
  const byId = new Map<string, WrittenStep>();
  for (const step of request.steps) {
    if (byId.has(step.stepId)) problems.push(`step ${step.stepId}: this stepId is used more than once`);
    byId.set(step.stepId, step);
  }
  const pins = new Pins(request.plugins);
  const planned: PlannedStep[] = [];
  for (const step of request.steps) {
    const plugin = pins.pin(step, problems);
    const after = findDependencies({ step, byId, unreadable, pins, inputs: request.inputs }, problems);
    if (plugin !== undefined) checkInputs(step, pins.get(plugin), byId, problems, warnings);
    planned.push({
      stepId: step.stepId,
      plugin: plugin ?? 0,
      inputs: step.inputs,
      after: [...after],
      ...(step.config.timeoutMs === undefined ? {} : { timeoutMs: step.config.timeoutMs }),
    });
  }
  const cycle = findCycle(planned);
  if (cycle !== undefined) problems.push(`the steps wait for each other in a cycle: ${cycle.join(' → ')}`);
  if (problems.length > 0) return { ok: false, code: pins.codeOf(problems), problems: [...new Set(problems)] };
  return { ok: true, definition: { plugins: pins.list, steps: planned, inputs: request.inputs }, warnings };
}

/** All problems as one text for an event: bounded, and it says how many were left out. */
export function describeProblems(problems: readonly string[]): string {
  const told = problems.slice(0, MAX_PROBLEMS_TOLD).map((problem) => problem.slice(0, 500));
  const more = problems.length - told.length;
  const head = problems.length === 1 ? 'the flow has 1 problem' : `the flow has ${problems.length} problems`;
  return `${head}: ${told.join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
}

function refuseLaterFeatures(step: WrittenStep): string[] {
  const used: string[] = [...step.unsupported];
  if (step.type === 'DECISION') used.push('type DECISION');
  if (step.condition !== undefined) used.push('condition');
  if (step.branches.length > 0) used.push('branches');
  if (step.children.length > 0) used.push('children');
  if (step.config.retryCount !== undefined) used.push('config.retryCount');
  if (step.config.retryDelayMs !== undefined) used.push('config.retryDelayMs');
  return used.map((field) => `step ${step.stepId}: ${field} is not supported by this release; leave it out`);
}

/** The plugins of a flow, each once. */
class Pins {
  readonly list: PinnedPlugin[] = [];
  readonly #indexes = new Map<string, number>();
  /** The problem that was told of a plugin → its code. */
  readonly #failures = new Map<string, ErrorCode>();
  readonly #resolved: ReadonlyMap<string, ResolveResult>;

  constructor(resolved: ReadonlyMap<string, ResolveResult>) {
    this.#resolved = resolved;
  }

  get(index: number): PinnedPlugin {
    const pin = this.list[index];
    if (pin === undefined) throw new Error(`no plugin ${index}`);
    return pin;
  }

  pin(step: WrittenStep, problems: string[]): number | undefined {
    if (step.pluginId === undefined) {
      if (step.type === 'ACTION') problems.push(`step ${step.stepId}: pluginId is missing`);
      return undefined;
    }
    const key = pluginKey(step);
    const known = this.#indexes.get(key);
    if (known !== undefined) return known;
    const resolved = this.#resolved.get(key);
    if (resolved === undefined) return undefined;
    if (!resolved.ok) {
      const problem = `step ${step.stepId}: ${resolved.code}: ${resolved.message}`;
      this.#failures.set(problem, resolved.code);
      problems.push(problem);
      return undefined;
    }
    const { pluginId, digest, manifest } = resolved.plugin;
    const { name, version, inputs, outputs } = manifest;
    this.list.push({ pluginId, name, version, digest, inputs, outputs });
    this.#indexes.set(key, this.list.length - 1);
    return this.list.length - 1;
  }

  /** A service that is away, or bytes that cannot be run, are nothing that the flow's author can change. */
  codeOf(problems: readonly string[]): ErrorCode {
    const codes = new Set(problems.map((problem) => this.#failures.get(problem) ?? 'FLOW_INVALID'));
    const [only] = codes;
    return codes.size === 1 && (only === 'SANDBOX_UNAVAILABLE' || only === 'PLUGIN_INVALID') ? only : 'FLOW_INVALID';
  }

  /** Names of the outputs that a step can be asked for; undefined when its plugin is not known. */
  outputsOf(step: WrittenStep): Set<string> | undefined {
    const index = this.pin(step, []);
    if (index === undefined) return undefined;
    return new Set([...Object.keys(this.get(index).outputs), ...Object.keys(step.outputs)]);
  }
}

interface DependencySearch {
  readonly step: WrittenStep;
  readonly byId: ReadonlyMap<string, WrittenStep>;
  /** Ids that others may refer to, of steps that nothing more is known of. */
  readonly unreadable: ReadonlySet<string>;
  readonly pins: Pins;
  readonly inputs: JsonObject;
}

function findDependencies(search: DependencySearch, problems: string[]): Set<string> {
  const { step, byId, unreadable } = search;
  const after = new Set<string>();
  for (const before of step.dependsOn) {
    if (byId.has(before)) after.add(before);
    else if (!unreadable.has(before))
      problems.push(
        `step ${step.stepId}: dependsOn names ${before}, which is no step${didYouMean(before, byId.keys())}`,
      );
  }
  for (const { path, text } of stringsOf(step.inputs, 'inputs')) {
    const template = parseTemplate(text, (name) => byId.has(name));
    if (template.kind === 'broken') problems.push(`step ${step.stepId}: ${path} ${template.problem}`);
    for (const reference of referencesOf(template)) {
      const problem = checkReference(search, reference);
      if (problem !== undefined) problems.push(`step ${step.stepId}: ${path} ${problem}`);
      else if (reference.kind === 'output' && byId.has(reference.stepId)) after.add(reference.stepId);
    }
  }
  return after;
}

function checkReference(
  { step, byId, unreadable, pins, inputs }: DependencySearch,
  reference: Reference,
): string | undefined {
  if (reference.kind === 'flow-input') {
    if (Object.hasOwn(inputs, reference.key)) return undefined;
    return `names flow.input.${reference.key}, which this run was not given${didYouMean(reference.key, Object.keys(inputs))}`;
  }
  const target = byId.get(reference.stepId);
  if (target === undefined && unreadable.has(reference.stepId)) return undefined;
  if (target === undefined) {
    return `names step ${reference.stepId}, which does not exist${didYouMean(reference.stepId, byId.keys())}`;
  }
  if (target === step) return 'refers to its own step';
  const outputs = pins.outputsOf(target) ?? new Set(Object.keys(target.outputs));
  if (outputs.has(reference.key) || pins.outputsOf(target) === undefined) return undefined;
  return `names ${reference.stepId}.${reference.key}, but that step has no such output${didYouMean(reference.key, outputs)}`;
}

function checkInputs(
  step: WrittenStep,
  plugin: PinnedPlugin,
  byId: ReadonlyMap<string, WrittenStep>,
  problems: string[],
  warnings: string[],
): void {
  for (const [name, declared] of Object.entries(plugin.inputs)) {
    const written = Object.hasOwn(step.inputs, name) ? step.inputs[name] : undefined;
    if (isMissing(written)) {
      if (declared.required && declared.default === undefined) {
        problems.push(`step ${step.stepId}: input ${name} (${declared.type}) of ${plugin.name} is missing`);
      }
    } else if (!fits(written, declared, byId)) {
      problems.push(
        `step ${step.stepId}: input ${name} must be ${declared.type}, not ${JSON.stringify(written).slice(0, 80)}`,
      );
    }
  }
  for (const name of Object.keys(step.inputs)) {
    if (Object.hasOwn(plugin.inputs, name)) continue;
    warnings.push(
      `step ${step.stepId}: ${plugin.name} has no input ${name}${didYouMean(name, Object.keys(plugin.inputs))}; it is ignored`,
    );
  }
}

/** A null input is the existing producer's way to leave it out. */
export function isMissing(value: Json | undefined): value is undefined | null {
  return value === undefined || value === null;
}

/** Whether a literal fits its type; a value with references is judged when they are known. */
function fits(value: Json, declared: InputDeclaration, byId: ReadonlyMap<string, WrittenStep>): boolean {
  for (const { text } of stringsOf(value, '')) {
    if (parseTemplate(text, (name) => byId.has(name)).kind !== 'text') return true;
  }
  return coerceValue(value, declared.type) !== undefined;
}

function didYouMean(word: string, candidates: Iterable<string>): string {
  const near = nearestName(word, candidates);
  return near === undefined ? '' : ` (did you mean ${near}?)`;
}
