// The import arrows, read from the manifests and from the sources.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ARROWS, packageNames } from '../arrows.mjs';
import { importSpecifiers, violations } from '../imports.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const folders = readdirSync(join(root, 'packages'));

interface Manifest {
  name: string;
  version: string;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}
const manifest = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(root, 'packages', folder, 'package.json'), 'utf8')) as Manifest;

describe.each(folders)('packages/%s', (folder) => {
  const allowed = ARROWS[folder] ?? [];

  it('has its arrows stated', () => {
    expect(Object.keys(ARROWS)).toContain(folder);
  });

  it('depends only on packages below it, with real semver ranges', () => {
    const { dependencies = {}, devDependencies = {}, peerDependencies = {} } = manifest(folder);
    for (const [name, range] of Object.entries({ ...devDependencies, ...peerDependencies, ...dependencies })) {
      if (!packageNames.includes(name)) continue;
      expect(allowed, `${folder} depends on ${name}`).toContain(name);
      expect(range, `${folder} -> ${name}`).toMatch(/^\^\d+\.\d+\.\d+/);
    }
  });

  it('imports only packages below it, and only what its manifest declares', () => {
    const declared = Object.keys(manifest(folder).dependencies ?? {});
    const offenders: string[] = [];
    for (const file of sources(folder)) {
      const text = readFileSync(file, 'utf8');
      const isTest = isForTests(file);
      for (const problem of violations(importSpecifiers(text), { allowed, declared, isTest })) {
        offenders.push(`${relative(root, file)}: ${problem}`);
      }
    }
    expect(offenders).toEqual([]);
  });

  it('uses node: modules only under src/node (the umbrella is for Node throughout)', () => {
    if (folder === 'pith') return;
    const offenders = sources(folder)
      .filter((file) => !isForTests(file) && !file.includes(join('src', 'node')))
      .filter((file) => importSpecifiers(readFileSync(file, 'utf8')).some((name) => name.startsWith('node:')));
    expect(offenders.map((file) => relative(root, file))).toEqual([]);
  });
});

describe('the check itself', () => {
  const context = { allowed: ['@pith/tensor-core'], declared: ['@pith/tensor-core', 'zod'], isTest: false };

  it('finds static, side-effect, dynamic and type imports and re-exports', () => {
    const text = `import a from 'a'; import 'b'; export * from "c"; const d = await import('d'); type E = import('e').E;
      import type { F } from 'f';`;
    expect(importSpecifiers(text).sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  it('refuses an arrow that points the wrong way, deep paths included', () => {
    expect(violations(['@pith/model'], context)).toHaveLength(1);
    expect(violations(['@pith/model/node'], context)).toHaveLength(1);
    expect(violations(['../../model/src/index.ts'], context)).toHaveLength(1);
    expect(violations(['@pith/tensor-core/node', 'zod', 'zod/v4', 'node:fs', './x.ts', '../y.ts'], context)).toEqual(
      [],
    );
  });

  it('refuses a dependency that the manifest lacks', () => {
    expect(violations(['lodash'], context)).toHaveLength(1);
    expect(violations(['vitest'], { ...context, isTest: true })).toEqual([]);
  });
});

/** Tests and what only tests use: neither is published. */
const isForTests = (file: string): boolean => /\.(test|fixture)\.(ts|js)$/.test(file);

function sources(folder: string): string[] {
  const src = join(root, 'packages', folder, 'src');
  return readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(ts|js)$/.test(file) && !file.includes('generated'))
    .map((file) => join(src, file));
}
