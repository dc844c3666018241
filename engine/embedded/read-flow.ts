/**
 * A flow and the inputs of a run, as a program or a file gives them, checked before anything is started: every problem
 * of the flow at once. What only its plugins can tell is found when the run starts.
 */
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { fitInputs } from '@flowops/proto/fit-inputs.ts';
import { parseFlowFile } from '@flowops/proto/flow.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '@flowops/proto/json.ts';
import type { Flow, FlowStep } from './api.ts';
import { MAX_FLOW_FILE_BYTES, readFlowFile } from './flow-file.ts';

/** A run that can be started: inputs typed, defaults filled in. */
export interface PreparedFlow {
  readonly flowId: string;
  readonly steps: Json;
  readonly inputs: JsonObject;
}

/**
 * A flow from a file, YAML or JSON.
 * @throws FlowopsError USAGE_INVALID when the file cannot be read, FLOW_INVALID with every problem of it, a line each
 */
export async function readFlow(file: string): Promise<Flow> {
  const read = await readFlowFile(file);
  if (!read.ok) throw new FlowopsError('FLOW_INVALID', read.problems.join('\n'));
  const { flowId, inputs, steps } = read.flow;
  return { flowId, inputs, steps: steps as unknown as readonly FlowStep[] }; // parseFlowFile has looked at each
}

/**
 * @param subject who is told how to give an input: a person at a command line (`flow`), or a program (`run`)
 * @throws FlowopsError FLOW_INVALID or INPUT_INVALID with every problem, a line each
 */
export function prepareFlow(flow: Flow, inputs: StartInputs = {}, subject: 'flow' | 'run' = 'run'): PreparedFlow {
  const parsed = parseFlowFile(asJson(flow, 'FLOW_INVALID', 'the flow'));
  if (!parsed.ok) throw new FlowopsError('FLOW_INVALID', parsed.problems.join('\n'));
  const given = asJson(inputs, 'INPUT_INVALID', 'the inputs');
  if (!isJsonObject(given)) throw new FlowopsError('INPUT_INVALID', 'the inputs must be an object of names and values');
  const { flowId, inputs: declared, steps } = parsed.flow;
  const fitted = fitInputs(given, declared, subject);
  if (!fitted.ok) throw new FlowopsError('INPUT_INVALID', fitted.message);
  const filled: JsonObject = { ...fitted.inputs };
  for (const [name, { default: preset }] of Object.entries(declared)) {
    if (preset !== undefined && !Object.hasOwn(filled, name)) filled[name] = preset;
  }
  return { flowId, steps, inputs: filled };
}

type StartInputs = Readonly<Record<string, unknown>>;

/** As it would be on the wire: dates are text, undefined is absent, size and depth are bounded. */
function asJson(value: unknown, code: 'FLOW_INVALID' | 'INPUT_INVALID', what: string): Json {
  const parsed = parseJson(textOf(value, code, what));
  if (parsed.ok) return parsed.value;
  throw new FlowopsError(code, `${what}: ${parsed.problem}`);
}

function textOf(value: unknown, code: 'FLOW_INVALID' | 'INPUT_INVALID', what: string): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (thrown) {
    throw new FlowopsError(code, `${what} cannot be written as JSON: ${messageOf(thrown)}`, { cause: thrown });
  }
  if (text === undefined) throw new FlowopsError(code, `${what} must be an object`);
  if (Buffer.byteLength(text) <= MAX_FLOW_FILE_BYTES) return text;
  throw new FlowopsError(code, `${what}: more than ${MAX_FLOW_FILE_BYTES} bytes of JSON`);
}
