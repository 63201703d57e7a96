// Where the reference data lies: the folder `shared` beside the repository. Absent in a user's clone, where the tests
// that read it are skipped by name; in CI its absence is an error.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const sharedRoot = fileURLToPath(new URL('../../../shared/', import.meta.url));
export const hasShared = existsSync(sharedRoot);
if (!hasShared && process.env['CI'] === 'true') throw new Error(`reference data is missing: ${sharedRoot}`);

/** @param {string} path */
export const shared = (path) => `${sharedRoot}${path}`;
