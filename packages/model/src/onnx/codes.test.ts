// Models that are quantized already: their codes are stored as they are, and ONNX Runtime computes what the format's own
// implementation does.
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { openModel } from '../node/open-model.ts';
import { readSafetensors } from '../testing/read-safetensors.fixture.ts';
import { runOnnx, withDirectory } from '../testing/run-onnx.fixture.ts';
import { buildDecoder } from './build-decoder.ts';
import { decoderFeeds, exportDecoder, PLAIN } from './decoder.fixture.ts';
import type { DecoderOptions } from './build-decoder.ts';

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.prototype.reduce.call(
    a,
    (most, value, i) => Math.max(most as number, Math.abs((value as number) - b[i])),
    0,
  ) as number;

// The embedding of these checkpoints is not quantized: it is stored as it is, by rounding to 8 bits in these tests' f32 model.
const cases: [string, DecoderOptions, string, string, number][] = [
  ['w4a16-g128-sym', { ...PLAIN, weights: 'q4' }, 'logits', 'blocks', 3e-5],
  ['w4a16-g128-asym', { ...PLAIN, weights: 'q4' }, 'logits', 'blocks', 3e-5],
  ['w8a16-channel', { ...PLAIN, weights: 'int8' }, 'logits', 'channels', 3e-5],
  ['w8a8-int', { ...PLAIN, weights: 'int8' }, 'logits_as_loaded', 'channels', 3e-5],
  ['fp8-channel', { ...PLAIN, weights: 'f32' }, 'logits', 'float', 3e-5],
];

describe.skipIf(!hasShared || !hasRuntime('onnxruntime-node'))('codes of compressed-tensors', () => {
  it.each(cases)('%s', async (name, options, expected, kind, tolerance) => {
    const folder = shared(`golden/compressed-tensors/${name}/checkpoint`);
    const model = await openModel(folder);
    const reference = readSafetensors(`${folder}/reference.safetensors`);
    const ids = Array.from(reference.get('input_ids')!.data, Number);
    const quantized = [...model.weights.values()].filter((weight) => weight.kind === 'quantized');
    expect(quantized.length).toBeGreaterThan(0);
    const plan = buildDecoder(model, options);
    const kept = plan.weights.filter(({ keepsCodes }) => keepsCodes);
    if (options.weights !== 'f32')
      expect(kept.map(({ name }) => name).sort()).toEqual(quantized.map(({ name }) => name).sort());
    expect(
      new Set(plan.weights.filter(({ name }) => name.includes('q_proj')).map(({ storage }) => storage.kind)),
    ).toEqual(new Set([kind]));
    await withDirectory(async (directory) => {
      const file = await exportDecoder(directory, model, { ...options, table: 'f32' });
      const { logits } = runOnnx(file, [decoderFeeds(model, [ids])]).results[0];
      expect(distance(logits.data, reference.get(expected)!.data)).toBeLessThan(tolerance);
    });
    await model.close();
  });
});
