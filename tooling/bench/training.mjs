// A training step of the shape that the peers are timed on, in a process of its own (training-step.mjs).
import { fileURLToPath } from 'node:url';
import { measure } from './measure.mjs';

/** @param {string[]} flags further arguments of training-step.mjs */
export async function benchTraining(flags = []) {
  const program = fileURLToPath(new URL('./training-step.mjs', import.meta.url));
  const run = await measure(process.execPath, [program, ...flags]);
  if (run.status !== 0) throw new Error(`training-step.mjs failed:\n${run.stdout}${run.stderr}`);
  const result = JSON.parse(run.stdout);
  return {
    name: result.teacherLayers ? 'training step, teacher' : 'training step',
    ...result,
    peakBytes: run.peakBytes,
  };
}
