/** A flow file from disk (YAML, of which JSON is a part), checked; every problem at once, with its file. */
import { readFile } from 'node:fs/promises';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { type FlowFile, parseFlowFile } from '@flowops/proto/flow.ts';
import { isJsonObject, parseJson } from '@flowops/proto/json.ts';
import { parseDocument } from 'yaml';

/** What a START may have by HTTP or CLI (design 4.3). */
export const MAX_FLOW_FILE_BYTES = 16 * 1024 * 1024;
/** YAML aliases could blow a small file up; a flow needs few. */
const MAX_ALIASES = 100;

export type ReadFlow =
  | { readonly ok: true; readonly flow: FlowFile }
  /** With `flow` its steps are wrong, and perhaps more: `ownProblems` are those of `problems` that are not of the steps. */
  | {
      readonly ok: false;
      readonly problems: readonly string[];
      readonly ownProblems: readonly string[];
      readonly flow?: FlowFile;
    };

/** @throws FlowopsError USAGE_INVALID when there is no such file. */
export async function readFlowFile(path: string): Promise<ReadFlow> {
  const text = await readFile(path, 'utf8').catch((thrown: unknown) => {
    throw new FlowopsError('USAGE_INVALID', `the flow file ${path} cannot be read: ${messageOf(thrown)}`);
  });
  if (Buffer.byteLength(text) > MAX_FLOW_FILE_BYTES) {
    return unreadable([`${path}: has more than ${MAX_FLOW_FILE_BYTES} bytes`]);
  }
  const named = (problems: readonly string[]) => problems.map((problem) => `${path}: ${problem}`);
  const value = path.endsWith('.json') ? readJson(text) : readYaml(text);
  if (!value.ok) return unreadable(named(value.problems));
  const parsed = parseFlowFile(value.value);
  if (parsed.ok) return parsed;
  return { ...parsed, problems: named(parsed.problems), ownProblems: named(parsed.ownProblems) };
}

function unreadable(problems: readonly string[]): ReadFlow {
  return { ok: false, problems, ownProblems: problems };
}

function readJson(text: string): { ok: true; value: unknown } | { ok: false; problems: string[] } {
  const parsed = parseJson(text);
  return parsed.ok ? parsed : { ok: false, problems: [parsed.problem] };
}

function readYaml(text: string): { ok: true; value: unknown } | { ok: false; problems: string[] } {
  const document = parseDocument(text, { prettyErrors: true });
  if (document.errors.length > 0) return { ok: false, problems: document.errors.map((error) => error.message.trim()) };
  try {
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
    // Through JSON, so that dates and the like are what they would be on the wire, and the depth is bounded.
    const parsed = parseJson(JSON.stringify(value ?? null));
    if (!parsed.ok) return { ok: false, problems: [parsed.problem] };
    return isJsonObject(parsed.value)
      ? parsed
      : { ok: false, problems: ['is no flow: a mapping with flowId and steps'] };
  } catch (thrown) {
    return { ok: false, problems: [messageOf(thrown)] };
  }
}
