// Low-rank factorization of a large matrix, in a process of its own (svd-run.mjs).
import { fileURLToPath } from 'node:url';
import { measure } from './measure.mjs';

/** @param {string[]} flags further arguments of svd-run.mjs */
export async function benchSvd(flags = []) {
  const run = await measure(process.execPath, [fileURLToPath(new URL('./svd-run.mjs', import.meta.url)), ...flags]);
  if (run.status !== 0) throw new Error(`svd-run.mjs failed:\n${run.stdout}${run.stderr}`);
  return { name: 'svd', ...JSON.parse(run.stdout), peakBytes: run.peakBytes };
}
