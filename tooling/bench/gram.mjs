// The Gram matrix of calibration inputs, in a process of its own (gram-run.mjs).
import { fileURLToPath } from 'node:url';
import { measure } from './measure.mjs';

/** @param {string[]} flags further arguments of gram-run.mjs */
export async function benchGram(flags = []) {
  const run = await measure(process.execPath, [fileURLToPath(new URL('./gram-run.mjs', import.meta.url)), ...flags]);
  if (run.status !== 0) throw new Error(`gram-run.mjs failed:\n${run.stdout}${run.stderr}`);
  return { name: 'gram', ...JSON.parse(run.stdout), peakBytes: run.peakBytes };
}
