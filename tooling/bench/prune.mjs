// Pruning of a synthetic checkpoint, statistics given, against plain file copies, in turn, in one run, the source in the page
// cache. The yardsticks are those of quantize.mjs; the output is as large as the source.
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { measure, median } from './measure.mjs';
import { copyAndWrite, readAll, readAndWrite } from './quantize.mjs';
import { syntheticCheckpoint } from './synthetic.mjs';

const program = fileURLToPath(new URL('./prune-run.mjs', import.meta.url));

/**
 * @param {{ work: string, name: string, flags: string[], layers?: number, rounds?: number }} options
 */
export async function benchPrune({ work, name, flags, layers = 22, rounds = 3 }) {
  const model = syntheticCheckpoint(work, layers);
  const output = join(work, 'pruned');
  const scratch = join(work, 'scratch.bin');
  const ours = [];
  const processor = [];
  const copy = [];
  const floor = [];
  let peakBytes = 0;
  let outputBytes = 0;
  for (let round = 0; round < rounds; round++) {
    readAll(model.file);
    rmSync(output, { recursive: true, force: true });
    const run = await measure(process.execPath, [program, model.dir, output, ...flags]);
    if (run.status !== 0) throw new Error(`pruning failed:\n${run.stdout}${run.stderr}`);
    ours.push(run.seconds);
    processor.push(run.cpuSeconds);
    peakBytes = Math.max(peakBytes, run.peakBytes ?? 0);
    outputBytes = statSync(join(output, 'model.safetensors')).size;
    rmSync(output, { recursive: true, force: true });
    copy.push(copyAndWrite(model.file, scratch, 0));
    floor.push(readAndWrite(model.file, scratch, outputBytes));
  }
  const ratios = (base) => ours.map((seconds, i) => seconds / base[i]);
  return {
    name,
    sourceBytes: model.bytes,
    outputBytes,
    seconds: median(ours),
    cpuSeconds: median(processor),
    copySeconds: median(copy),
    floorSeconds: median(floor),
    ratioToCopy: median(ratios(copy)),
    ratioToFloor: median(ratios(floor)),
    weightsPerSecond: model.linearParameters / median(ours),
    peakBytes,
    rounds,
  };
}
