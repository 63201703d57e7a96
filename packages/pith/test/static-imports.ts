import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const IMPORT = /^(?:import|export)\s[^'"]*?from\s*['"]([^'"]+)['"]|^import\s*['"]([^'"]+)['"]/gm;

/** Names of all packages that a built module imports statically, through its own files and those of this repository. */
export function staticImports(entry: string): Set<string> {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const [, from, bare] of readFileSync(file, 'utf8').matchAll(IMPORT)) {
      const name = (from ?? bare)!;
      if (name.startsWith('.')) visit(join(dirname(file), name));
      else if (name.startsWith('@pith/')) visit(resolveOwn(name, file));
      else packages.add(name);
    }
  };
  visit(entry);
  return packages;
}

/** The built entry of a package of this repository. */
function resolveOwn(name: string, from: string): string {
  const [, folder, sub] = /^@pith\/([^/]+)(?:\/(.+))?$/.exec(name)!;
  const manifestPath = createRequire(from).resolve(`@pith/${folder}/package.json`);
  const manifest = JSON.parse(readFileSync(manifestPath, 'utf8')) as {
    exports: Record<string, { default: string }>;
  };
  return fileURLToPath(
    new URL(manifest.exports[sub === undefined ? '.' : `./${sub}`]!.default, `file://${manifestPath}`),
  );
}
