// GPTQ of the whole synthetic checkpoint under a memory limit, by the command line: wall and processor time, peak memory.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { byteTokenizer } from './byte-tokenizer.mjs';
import { measure } from './measure.mjs';
import { syntheticCheckpoint } from './synthetic.mjs';

/**
 * @param {{ work: string, pith: string, layers?: number, samples?: number, context?: number, memory?: string }} options
 */
export async function benchGptqModel({ work, pith, layers = 22, samples = 16, context = 512, memory = '3GB' }) {
  const model = syntheticCheckpoint(work, layers);
  byteTokenizer(model.dir);
  const text = join(work, 'calibration.txt');
  let state = 1;
  const letters = Array.from({ length: samples * (context - 1) + 10 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return String.fromCharCode(97 + ((state >>> 8) % 26));
  });
  writeFileSync(text, letters.join(''));
  const output = join(work, 'gptq');
  rmSync(output, { recursive: true, force: true });
  const run = await measure(process.execPath, [
    ...[pith, 'quantize', model.dir, '-o', output, '--method', 'gptq', '--scheme', 'w4g128'],
    ...['--calibration', text, '--samples', `${samples}`, '--context', `${context}`, '--memory', memory],
    ...['--json', '--quiet'],
  ]);
  if (run.status !== 0) throw new Error(`pith quantize failed:\n${run.stdout}${run.stderr}`);
  const result = JSON.parse(run.stdout);
  rmSync(output, { recursive: true, force: true });
  return {
    name: `model: gptq w4g128, ${samples} x ${context} tokens, --memory ${memory}`,
    sourceBytes: model.bytes,
    outputBytes: result.bytesAfter,
    layers,
    seconds: run.seconds,
    cpuSeconds: run.cpuSeconds,
    peakBytes: run.peakBytes,
  };
}
