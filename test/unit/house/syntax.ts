/** Source files as syntax trees, for tests about the sources: parsed once each, types and decorators included. */
import { parseAst } from 'vitest/node';
import { codeFiles, readProjectFile } from './project-files.ts';

/** A node of the ESTree with TypeScript's own additions; fields are looked at by name where they are needed. */
export interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly [field: string]: unknown;
}

export interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly root: SyntaxNode;
}

let parsed: readonly SourceFile[] | undefined;

export function sourceFiles(): readonly SourceFile[] {
  parsed ??= codeFiles().map((path) => ({ path, ...parseSource(readProjectFile(path)) }));
  return parsed;
}

export function parseSource(text: string): { text: string; root: SyntaxNode } {
  const root: unknown = parseAst(text, { lang: 'ts' });
  if (!isNode(root)) throw new Error('the parser gave no tree');
  return { text, root };
}

/** Every node of the tree, parents before children. */
export function* nodesOf(root: SyntaxNode): Generator<SyntaxNode> {
  const waiting: SyntaxNode[] = [root];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    yield node;
    for (const field of Object.values(node)) {
      for (const child of Array.isArray(field) ? field : [field]) if (isNode(child)) waiting.push(child);
    }
  }
}

export function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

export function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}
