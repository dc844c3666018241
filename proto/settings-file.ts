/**
 * Reads the `--config` file: YAML, one mapping from setting names to values. It gives each entry as text with its
 * place (`flowops.yaml:3`), and every problem of the file itself; it knows nothing of which names exist.
 *
 * `yaml` is loaded only when there is a file: most commands start without one.
 */
import { readFileSync, statSync } from 'node:fs';
import type { LineCounter, Node, Pair } from 'yaml';
import { messageOf } from './errors.ts';

export interface SettingsFileEntry {
  readonly key: string;
  readonly text: string;
  /** `path:line`. */
  readonly place: string;
}

export interface SettingsFile {
  readonly entries: readonly SettingsFileEntry[];
  readonly problems: readonly string[];
}

/** A settings file has some forty lines; certificates inside it fit too. */
const SETTINGS_FILE_MAX_BYTES = 1024 * 1024;

/** Never throws: whatever is wrong with the file is a problem that names it. */
export async function readSettingsFile(path: string): Promise<SettingsFile> {
  let source: string;
  try {
    const bytes = statSync(path).size;
    if (bytes > SETTINGS_FILE_MAX_BYTES) {
      return refuse(`${path} has ${bytes} bytes; a settings file has at most ${SETTINGS_FILE_MAX_BYTES}`);
    }
    source = readFileSync(path, 'utf8');
  } catch (thrown) {
    return refuse(`the settings file ${path} cannot be read: ${messageOf(thrown)}`);
  }
  const yaml = await import('yaml');
  const lines = new yaml.LineCounter();
  const document = yaml.parseDocument(source, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) => `${path}:${lines.linePos(error.pos[0]).line}: ${error.message}`);
    return { entries: [], problems };
  }
  const root = document.contents;
  if (root === null || (yaml.isScalar(root) && root.value === null)) return { entries: [], problems: [] };
  if (!yaml.isMap<Node, Node | null>(root)) return refuse(`${path} must be a mapping from setting names to values`);

  const entries: SettingsFileEntry[] = [];
  const problems: string[] = [];
  for (const pair of root.items) {
    const place = `${path}:${lineOf(pair, lines)}`;
    const key = yaml.isScalar(pair.key) ? String(pair.key.value) : '';
    const text = textOf(pair.value === null ? null : pair.value.toJS(document));
    if (text === undefined) problems.push(`${place}: ${key} must be text, a number, true or false, or a list of text`);
    else if (text !== '') entries.push({ key, text, place });
  }
  return { entries, problems };
}

function refuse(problem: string): SettingsFile {
  return { entries: [], problems: [problem] };
}

function lineOf(pair: Pair<Node, Node | null>, lines: LineCounter): number {
  return lines.linePos(pair.key.range?.[0] ?? 0).line;
}

/** A scalar or a list of scalars as a person would type it in the environment; empty for null. */
function textOf(value: unknown): string | undefined {
  if (value === null || value === undefined) return '';
  if (!Array.isArray(value)) return scalarText(value);
  const parts = value.map(scalarText);
  return parts.length === 0 || parts.includes(undefined) ? undefined : parts.join(',');
}

function scalarText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}
