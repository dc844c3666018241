/** The object of `--json` as text: one line that steers no terminal, whatever strangers put into it. */

/** The same JSON for every reader: inside JSON text these characters stand in strings only, where an escape means the same. */
export function jsonLine(value: object): string {
  return JSON.stringify(value).replace(/[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, index) => escapeUnit(character.charCodeAt(index))).join(''),
  );
}

function escapeUnit(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}
