// Versions of the packages that decide the bytes of an artefact.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { version } from './version.ts';

const PACKAGES = ['@pith/tensor-core', '@pith/checkpoint', '@pith/model', '@pith/quant'];

/** Version by package name, this package included. */
export function packageVersions(): Record<string, string> {
  const require = createRequire(import.meta.url);
  const versions: Record<string, string> = { pith: version };
  for (const name of PACKAGES) {
    const manifest = JSON.parse(readFileSync(require.resolve(`${name}/package.json`), 'utf8')) as { version: string };
    versions[name] = manifest.version;
  }
  return versions;
}
