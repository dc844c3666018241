/** What each source file imports, static, dynamic and type imports alike, with our own resolved to files. */
import path from 'node:path';
import { isNode, nodesOf, type SourceFile } from './syntax.ts';

export interface Import {
  readonly from: string;
  readonly specifier: string;
  /** The file of ours that it names, from the root; undefined for packages and Node's own modules. */
  readonly file: string | undefined;
}

const OWN_PACKAGE = /^@flowops\/(engine|proto|sandbox|sdk)(?:\/(.+))?$/;

export function importsOf(source: SourceFile): readonly Import[] {
  const specifiers = new Set<string>();
  for (const node of nodesOf(source.root)) {
    const specifier = specifierOf(node);
    if (specifier !== undefined) specifiers.add(specifier);
  }
  return [...specifiers].map((specifier) => ({
    from: source.path,
    specifier,
    file: ownFile(source.path, specifier),
  }));
}

/** `import … from`, `export … from`, `import()`, `import('x').T` and `import.meta.resolve('x')`. */
function specifierOf(node: { type: string; [field: string]: unknown }): string | undefined {
  if (node.type === 'CallExpression' && isMetaResolve(node.callee) && Array.isArray(node.arguments)) {
    return textOf(node.arguments[0]);
  }
  const isImport = /^(?:Import|Export(?:Named|All)|TSImport)(?:Declaration|Expression|Type)$/.test(node.type);
  return isImport ? textOf(node.source) : undefined;
}

function isMetaResolve(callee: unknown): boolean {
  if (!isNode(callee) || callee.type !== 'MemberExpression' || !isNode(callee.object)) return false;
  return callee.object.type === 'MetaProperty' && isNode(callee.property) && callee.property.name === 'resolve';
}

function textOf(literal: unknown): string | undefined {
  return isNode(literal) && literal.type === 'Literal' && typeof literal.value === 'string' ? literal.value : undefined;
}

function ownFile(from: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return path.posix.normalize(path.posix.join(path.posix.dirname(from), specifier));
  const own = OWN_PACKAGE.exec(specifier);
  return own === null ? undefined : `${own[1]}/${own[2] ?? 'index.ts'}`;
}

/** Each cycle once, as the files on the way round. */
export function findCycles(imports: readonly Import[]): readonly string[] {
  const graph = new Map<string, string[]>();
  for (const { from, file } of imports) {
    if (file !== undefined) graph.set(from, [...(graph.get(from) ?? []), file]);
  }
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, trail: readonly string[]): void => {
    const at = trail.indexOf(file);
    if (at !== -1) cycles.push([...trail.slice(at), file].join(' → '));
    if (at !== -1 || done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return cycles;
}
