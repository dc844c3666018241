/**
 * Our Lua scripts: one transition per file, whose header lists KEYS, ARGV and what it returns. They are loaded at every
 * connect and called by digest; a server that forgot one (SCRIPT FLUSH) is sent the text again.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface RedisScript {
  readonly text: string;
  /** SHA-1 of the text, as EVALSHA wants it. */
  readonly sha: string;
}

const patch = textOf('patch');

export const SCRIPTS = {
  openPartition: script(textOf('open-partition')),
  indexAdd: script(textOf('index-add')),
  indexCheck: script(textOf('index-check')),
  indexRemove: script(textOf('index-remove')),
  create: script(patch + textOf('create')),
  claim: script(textOf('claim')),
  reopen: script(textOf('reopen')),
  commit: script(patch + textOf('commit')),
  read: script(textOf('read')),
  retire: script(textOf('retire')),
  note: script(textOf('note')),
  restorePartition: script(textOf('restore-partition')),
  markStopped: script(textOf('mark-stopped')),
} as const satisfies Record<string, RedisScript>;

function script(text: string): RedisScript {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

function textOf(name: string): string {
  return readFileSync(new URL(`./${name}.lua`, import.meta.url), 'utf8');
}
