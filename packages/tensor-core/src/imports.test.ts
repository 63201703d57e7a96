// What the main entry reaches must run in a browser: no Node module, no Node global, no native package.
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = import.meta.dirname;

/** Every file that an entry reaches, with its code (comments removed), and every package. Type imports do not count. */
function reached(entry: string): { files: Map<string, string>; packages: Set<string> } {
  const files = new Map<string, string>();
  const packages = new Set<string>();
  const queue = [join(ROOT, entry)];
  for (const path of queue) {
    const text = readFileSync(path, 'utf8');
    files.set(relative(ROOT, path), text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, ''));
    for (const name of importsOf(ts.createSourceFile(path, text, ts.ScriptTarget.ES2022))) {
      if (!name.startsWith('.')) packages.add(name);
      else if (!queue.includes(join(dirname(path), name))) queue.push(join(dirname(path), name));
    }
  }
  return { files, packages };
}

/** What is imported or re-exported for its values, `import()` included. */
function importsOf(file: ts.SourceFile): string[] {
  const names: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && !node.importClause?.isTypeOnly) names.push(textOf(node.moduleSpecifier));
    if (ts.isExportDeclaration(node) && !node.isTypeOnly && node.moduleSpecifier)
      names.push(textOf(node.moduleSpecifier));
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      names.push(textOf(node.arguments[0]!));
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return names;
}

function textOf(node: ts.Expression): string {
  if (ts.isStringLiteral(node)) return node.text;
  throw new Error('an import must name its module in a string');
}

describe('the main entry', () => {
  const { files, packages } = reached('index.ts');

  it('is walked through: known files are reached', () => {
    for (const name of ['errors/pith-error.ts', 'generated/kernels-wasm.ts', 'compile/trace.ts', 'weight/restore.ts']) {
      expect([...files.keys()]).toContain(name);
    }
  });

  it('reaches no Node module and only packages that run in a browser', () => {
    expect(
      [...packages].filter((name) => !/^(@tensorflow\/tfjs-core|@bufbuild\/protobuf|zod)(\/|$)/.test(name)),
    ).toEqual([]);
    expect([...files.keys()].filter((name) => name.startsWith('node/'))).toEqual([]);
  });

  it('uses no global of Node', () => {
    const using = [...files].filter(([, code]) => /\b(process|Buffer|require|__dirname|setImmediate)\b[.(]/.test(code));
    expect(using.map(([name]) => name)).toEqual([]);
  });
});

describe('the node entry', () => {
  it('is where Node is used', () => {
    const { packages } = reached('node/index.ts');
    expect([...packages]).toEqual(expect.arrayContaining(['node:worker_threads', 'node:fs', 'onnxruntime-node']));
  });
});
