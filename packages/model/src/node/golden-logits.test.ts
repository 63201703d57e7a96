// Logits of the tiny checkpoints of golden/compressed-tensors under everything that the reference computed of them: with the weights that
// the library restores, with those in f32, and as it loads them, with rounded inputs.
import { denseWeight, fromF32, memoryBytes, toF32, type Device, type WeightTensor } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logits } from '../evaluate/logits.ts';
import type { LanguageModel } from '../language-model.ts';
import { readSafetensors } from '../testing/read-safetensors.fixture.ts';
import { openModel } from './open-model.ts';

/** Logits to compare. */
interface Pair {
  readonly ours: Float32Array;
  readonly theirs: Float32Array;
}

/** f32 logits of a single block whose sums run in another order. */
const TOLERANCE = 5e-5;

describe.skipIf(!hasShared)('golden/compressed-tensors', () => {
  let device: Device;
  beforeAll(() => (device = cpuDevice({ threads: 1 })));
  afterAll(() => device.dispose());

  /** Ours and the reference's logits, [24, 96] each. */
  async function both(
    name: string,
    key: string,
    activations: 'quantized' | 'weights-only' = 'weights-only',
    change: (model: LanguageModel) => Promise<LanguageModel> = (model) => Promise.resolve(model),
  ) {
    const folder = shared(`golden/compressed-tensors/${name}/checkpoint`);
    const reference = readSafetensors(`${folder}/reference.safetensors`);
    const model = await openModel(folder);
    try {
      const ids = Int32Array.from(reference.get('input_ids')!.data);
      const { data } = await logits(await change(model), ids, { device, activations });
      return { ours: data, theirs: Float32Array.from(reference.get(key)!.data) };
    } finally {
      await model.close();
    }
  }

  const furthest = ({ ours, theirs }: Pair) =>
    ours.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs[i])), 0);
  const meanSquare = ({ ours, theirs }: Pair) =>
    ours.reduce((sum, value, i) => sum + (value - theirs[i]) ** 2, 0) / ours.length;

  it.each(['mxfp4a16', 'fp8-block'])('%s: logits', async (name) => {
    expect(furthest(await both(name, 'logits'))).toBeLessThan(TOLERANCE);
  });

  it('nvfp4a16: exact in f32; with the bf16 rounding of the library its own', async () => {
    expect(furthest(await both('nvfp4a16', 'logits_exact'))).toBeLessThan(TOLERANCE);
    const rounded = async (model: LanguageModel): Promise<LanguageModel> => {
      const weights = new Map<string, WeightTensor>(model.weights);
      for (const [name, weight] of weights) {
        if (weight.kind !== 'quantized') continue;
        const values = toF32('bf16', fromF32('bf16', await weight.toF32()));
        const source = memoryBytes(fromF32('f32', values));
        weights.set(name, denseWeight({ name, dtype: 'f32', shape: weight.shape, source }));
      }
      return { ...model, weights };
    };
    expect(furthest(await both('nvfp4a16', 'logits', 'weights-only', rounded))).toBeLessThan(TOLERANCE);
    expect(furthest(await both('nvfp4a16', 'logits'))).toBeGreaterThan(10 * TOLERANCE);
  });

  it.each(['fp8-channel', 'fp8-block'])('%s: as it is loaded, inputs rounded', async (name) => {
    expect(furthest(await both(name, 'logits_as_loaded', 'quantized'))).toBeLessThan(TOLERANCE);
    expect(furthest(await both(name, 'logits_as_loaded'))).toBeGreaterThan(0.1);
  });

  // The value with the largest magnitude of a token is 127.5 steps from 0. Where it is negative, it becomes -128 or -127 as the last bit of
  // the quotient has it, and the token, and those that see it, move. The reference itself, run with its inputs moved by one unit in
  // the last place at random, differs from itself by 0.089, 0.122, 0.097, 0.082 and 0.170 at the positions 19 to 23 and by 4e-6
  // elsewhere: as ours does. (On another processor other positions may be hit.)
  it('w8a8-int: as it is loaded, but where the last bit decides a code', async () => {
    const loaded = await both('w8a8-int', 'logits_as_loaded', 'quantized');
    const part = (values: Float32Array, position: number) => values.subarray(96 * position, 96 * position + 96);
    const distances = Array.from({ length: 24 }, (_, position) =>
      furthest({ ours: part(loaded.ours, position), theirs: part(loaded.theirs, position) }),
    );
    expect(distances.filter((distance) => distance < TOLERANCE).length).toBeGreaterThanOrEqual(12);
    expect(Math.max(...distances)).toBeLessThan(0.2);
    const plain = await both('w8a8-int', 'logits_as_loaded');
    expect(meanSquare(loaded)).toBeLessThan(0.25 * meanSquare(plain));
  });
});
