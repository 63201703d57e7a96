// Every package has the same skeleton, so that who knows one knows all.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const folders = readdirSync(join(root, 'packages'));

describe.each(folders)('packages/%s', (folder) => {
  const at = (path: string): string => join(root, 'packages', folder, path);
  const text = (path: string): string => readFileSync(at(path), 'utf8');

  it.each(['README.md', 'LICENSE', 'package.json', 'src/index.ts', 'src/index.test.ts', 'typedoc.json'])(
    'has %s',
    (file) => {
      expect(existsSync(at(file)), `packages/${folder}/${file}`).toBe(true);
    },
  );

  it('exports by name only', () => {
    const code = text('src/index.ts').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
    expect(code).not.toMatch(/export\s*\*/);
    expect(code).not.toMatch(/^\s*export (default|const|function|class|let|interface)\b/m);
  });

  it('installs without scripts and says which Node it needs', () => {
    const manifest = JSON.parse(text('package.json')) as {
      scripts: Record<string, string>;
      engines: { node: string };
      type: string;
      license: string;
    };
    for (const hook of ['preinstall', 'install', 'postinstall', 'prepare'])
      expect(manifest.scripts).not.toHaveProperty(hook);
    expect(manifest.engines.node).toBe('>=20.19');
    expect(manifest.type).toBe('module');
    expect(manifest.license).toBe('Apache-2.0');
  });

  it('keeps its licence the same as the repository’s', () => {
    expect(text('LICENSE')).toBe(readFileSync(join(root, 'LICENSE'), 'utf8'));
  });
});

describe('the lock file', () => {
  it('names no package that needs an install script to work', () => {
    expect(readFileSync(join(root, '.npmrc'), 'utf8')).toContain('ignore-scripts=true');
  });

  it('carries no download addresses, so that it installs from any mirror', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { resolved?: string; link?: boolean }>;
    };
    const addresses = Object.values(lock.packages).filter(
      (entry) => entry.link !== true && entry.resolved !== undefined,
    );
    expect(addresses).toEqual([]);
  });
});
