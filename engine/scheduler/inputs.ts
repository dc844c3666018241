/**
 * The inputs of one attempt: references replaced, values coerced to the plugin's declared types (design 3.4). What
 * does not fit fails the step before any code runs. Pure; the outputs it needs are read before.
 */
import { MAX_INPUT_BYTES } from '@flowops/proto/fit-inputs.ts';
import type { Json, JsonObject } from '@flowops/proto/json.ts';
import { coerceValue } from '@flowops/proto/manifest.ts';
import type { FlowDefinition, OutputLookup, PlannedStep } from './definition.ts';
import { isMissing } from './plan.ts';
import { parseTemplate, type Reference, referencesOf, resolveValue, stringsOf } from './references.ts';

export type ResolvedInputs =
  | { readonly ok: true; readonly json: string }
  | { readonly ok: false; readonly problem: string };

/** `stepId.outputKey` of every output that the step's inputs name, each once. */
export function neededOutputs(step: PlannedStep, isStep: (name: string) => boolean): readonly string[] {
  const names = new Set<string>();
  for (const { text } of stringsOf(step.inputs, '')) {
    for (const reference of referencesOf(parseTemplate(text, isStep))) {
      if (reference.kind === 'output') names.add(`${reference.stepId}.${reference.key}`);
    }
  }
  return [...names];
}

export function resolveInputs(
  definition: FlowDefinition,
  step: PlannedStep,
  isStep: (name: string) => boolean,
  outputs: OutputLookup,
): ResolvedInputs {
  const plugin = definition.plugins[step.plugin];
  if (plugin === undefined) throw new Error(`step ${step.stepId} has no plugin`);
  const missing = new Set<string>();
  const lookup = (reference: Reference): Json => {
    const value = lookUp(definition, reference, outputs);
    if (value === undefined) missing.add(nameOf(reference));
    return value ?? null;
  };
  const inputs: JsonObject = {};
  for (const [name, declared] of Object.entries(plugin.inputs)) {
    const written = Object.hasOwn(step.inputs, name) ? step.inputs[name] : undefined;
    const resolved = isMissing(written) ? written : resolveValue(written, isStep, lookup);
    if (missing.size > 0)
      return { ok: false, problem: `input ${name} needs ${[...missing].join(', ')}, which was not produced` };
    if (isMissing(resolved)) {
      if (declared.required && declared.default === undefined) {
        return { ok: false, problem: `input ${name} (${declared.type}) has no value` };
      }
      if (declared.default !== undefined) inputs[name] = declared.default;
      continue;
    }
    const value = coerceValue(resolved, declared.type);
    if (value === undefined) {
      return {
        ok: false,
        problem: `input ${name} must be ${declared.type}, not ${JSON.stringify(resolved).slice(0, 80)}`,
      };
    }
    inputs[name] = value;
  }
  const json = JSON.stringify(inputs);
  if (json.length > MAX_INPUT_BYTES || Buffer.byteLength(json) > MAX_INPUT_BYTES) {
    return { ok: false, problem: `the inputs have more than ${MAX_INPUT_BYTES} bytes together` };
  }
  return { ok: true, json };
}

function lookUp(definition: FlowDefinition, reference: Reference, outputs: OutputLookup): Json | undefined {
  if (reference.kind === 'output') return outputs(reference.stepId, reference.key);
  return Object.hasOwn(definition.inputs, reference.key) ? definition.inputs[reference.key] : undefined;
}

function nameOf(reference: Reference): string {
  return reference.kind === 'output' ? `${reference.stepId}.${reference.key}` : `flow.input.${reference.key}`;
}
