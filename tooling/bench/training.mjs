// A training step of the shape that the peers are timed on, in a process of its own (training-step.mjs).
import { fileURLToPath } from 'node:url';
import { measure } from './measure.mjs';

export async function benchTraining() {
  const run = await measure(process.execPath, [fileURLToPath(new URL('./training-step.mjs', import.meta.url))]);
  if (run.status !== 0) throw new Error(`training-step.mjs failed:\n${run.stdout}${run.stderr}`);
  return { name: 'training step', ...JSON.parse(run.stdout), peakBytes: run.peakBytes };
}
