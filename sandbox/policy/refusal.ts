/** How a policy says no: the refusal itself, and a stranger's text inside its sentence. */
import type { RefuseDecision } from './decision.ts';

/** How many asked-for permissions a message lists before it only counts them. */
const MAX_LISTED = 3;
/** A permission is a stranger's text: no more of it than a host name can have. */
const MAX_SHOWN_CHARS = 300;

export function denied(message: string): RefuseDecision {
  return { kind: 'refuse', code: 'POLICY_DENIED', message };
}

export function invalid(message: string): RefuseDecision {
  return { kind: 'refuse', code: 'PLUGIN_INVALID', message };
}

export function listed(texts: readonly string[], word: (text: string) => string = shown): string {
  const first = texts.slice(0, MAX_LISTED).map(word).join(', ');
  return texts.length > MAX_LISTED ? `${first} and ${texts.length - MAX_LISTED} more` : first;
}

/** A stranger's text inside a sentence: as it is when it is harmless, else quoted with everything odd escaped. */
export function shown(text: string): string {
  if (/^[\x21-\x7e]{1,300}$/.test(text)) return text;
  const quoted = JSON.stringify(text.slice(0, MAX_SHOWN_CHARS));
  return quoted.replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** What YAML would read as a number, a truth value or nothing. */
const ODD_IN_YAML = /^(?:true|false|null|~|[-+]?\.?\d[\d_.]*(?:e[-+]?\d+)?|0x[\da-f]+|0o[0-7]+|[-+]?\.(?:inf|nan))$/i;

/** A name or id as it stands in YAML: in quotes where it would be read as something else. */
export function yamlText(text: string): string {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(text) && !ODD_IN_YAML.test(text) ? text : JSON.stringify(text);
}
