// GPTQ of one layer, in a process of its own (gptq-run.mjs).
import { fileURLToPath } from 'node:url';
import { measure } from './measure.mjs';

/** @param {string[]} flags further arguments of gptq-run.mjs */
export async function benchGptq(flags = []) {
  const run = await measure(process.execPath, [fileURLToPath(new URL('./gptq-run.mjs', import.meta.url)), ...flags]);
  if (run.status !== 0) throw new Error(`gptq-run.mjs failed:\n${run.stdout}${run.stderr}`);
  return { name: 'gptq layer', ...JSON.parse(run.stdout), peakBytes: run.peakBytes };
}
