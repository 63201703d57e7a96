// The runtimes of tooling/runtimes, which are installed on their own. Absent on most machines, where the tests that need one
// are skipped by name; in CI their absence is an error.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const folder = fileURLToPath(new URL('../runtimes/', import.meta.url));
const require = createRequire(`${folder}package.json`);

/**
 * Whether a runtime is installed here.
 * @param {import('./runtimes.d.ts').Runtime} name
 */
export function hasRuntime(name) {
  const found = existsSync(`${folder}node_modules/${name}/package.json`);
  if (!found && process.env['CI'] === 'true') {
    throw new Error(`${name} is missing: npm install --prefix tooling/runtimes --no-save --omit=optional`);
  }
  return found;
}

/**
 * Address of a runtime's entry module, for `import()`; a child process may import it by this address, too.
 * @param {import('./runtimes.d.ts').Runtime} name
 */
export const runtimeUrl = (name) => pathToFileURL(require.resolve(name)).href;
