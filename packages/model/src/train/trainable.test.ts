import { denseWeight, factoredWeight, fromF32, memoryBytes, randomStream } from '@pith/tensor-core';
import type { ByteDType, WeightTensor } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { causalStates, type NamedTensors } from '../architecture/causal-logits.ts';
import type { LanguageModel } from '../language-model.ts';
import { adamw } from './adamw.ts';
import { initialParameters } from './initial-parameters.ts';
import { crossEntropy, type Loss } from './loss.ts';
import { parseTrainable } from './parse-trainable.ts';
import { countingTokens, tinyLlama } from './tiny-llama.fixture.ts';
import { tokenWindows } from './token-windows.ts';
import { trainableModel, type TrainableModel } from './trainable.ts';
import { createTrainer } from './trainer.ts';

const device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());

const start = initialParameters(tinyLlama, { seed: 1, deviation: 0.1 });
const dense = (name: string, shape: readonly number[], values: Float32Array, dtype: ByteDType = 'f32') =>
  denseWeight({ name, dtype, shape, source: memoryBytes(fromF32(dtype, values)) });

function model(changes: Readonly<Record<string, WeightTensor>> = {}): LanguageModel {
  const weights = new Map<string, WeightTensor>(
    Object.entries(start).map(([name, { shape, data }]) => [name, dense(name, shape, data)]),
  );
  for (const [name, weight] of Object.entries(changes)) weights.set(name, weight);
  return { config: tinyLlama.config, architecture: tinyLlama, weights, tokenizer: null, stopTokenIds: [] };
}

const lossOf =
  ({ architecture, hook }: TrainableModel): Loss =>
  (tensors, batch) =>
    crossEntropy(
      causalStates(architecture, tensors as NamedTensors, batch['ids'] as never, hook(tensors)).logits,
      batch['targets'] as never,
    );

async function train(source: TrainableModel, steps: number) {
  const trainer = await createTrainer({
    parameters: source.parameters,
    frozen: source.frozen,
    masks: source.masks,
    loss: lossOf(source),
    batches: tokenWindows({ tokens: countingTokens, bos: 0, context: 8, batchSize: 4, seed: 2 }),
    optimizer: adamw(),
    schedule: () => 1e-2,
    device,
  });
  const losses: number[] = [];
  await trainer.train({ steps, onStep: ({ loss }) => void losses.push(loss) });
  const { tensors } = trainer.state();
  await trainer.dispose();
  const parameters = Object.fromEntries(Object.keys(source.parameters).map((name) => [name, tensors[name]!]));
  return { losses, weights: await source.merge(parameters), parameters };
}

const DOWN = 'model.layers.0.mlp.down_proj.weight';
const values = async (weights: ReadonlyMap<string, WeightTensor>, name: string) => weights.get(name)!.toF32();

describe('trainableModel', () => {
  it('trains norms, or modules by pattern, and hands all others back untouched', async () => {
    for (const [text, count] of [
      ['norms', 5],
      ['mlp.down_proj,layers.1.self_attn', 6],
    ] as const) {
      const source = model();
      const taken = await trainableModel(source, { trainable: parseTrainable(text), seed: 1 });
      expect(Object.keys(taken.parameters)).toHaveLength(count);
      const { losses, weights } = await train(taken, 25);
      expect(losses.at(-1)).toBeLessThan(losses[0]!);
      for (const name of weights.keys()) {
        if (name in taken.parameters) expect(await values(weights, name)).not.toEqual(start[name]!.data);
        else expect(weights.get(name)).toBe(source.weights.get(name));
      }
    }
  });

  it('merges LoRA into what the program computed with it', async () => {
    const taken = await trainableModel(model(), { trainable: parseTrainable('lora:rank=2,alpha=6'), seed: 1 });
    expect(taken.parameters['model.layers.0.mlp.down_proj.lora_A.weight']!.shape).toEqual([2, 24]);
    expect(taken.parameters['model.layers.0.mlp.down_proj.lora_B.weight']!.shape).toEqual([16, 2]);
    const { losses, weights, parameters } = await train(taken, 30);
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.1);
    // The next step's loss with the additions, and without them on the merged weights.
    const again = { ...taken, parameters };
    const merged = await trainableModel({ ...model(), weights }, { seed: 1 });
    const [withAdditions, withMerged] = [await train(again, 1), await train(merged, 1)];
    expect(withMerged.losses[0]).toBeCloseTo(withAdditions.losses[0]!, 5);
    expect(await values(weights, 'model.norm.weight')).toEqual(start['model.norm.weight']!.data);
  });

  it('trains the factors of a factored weight and keeps the dtype of what it replaces', async () => {
    const random = randomStream(1, 'factors');
    const draw = (rows: number, columns: number) =>
      Float32Array.from({ length: rows * columns }, () => 0.3 * random.normal());
    const factored = factoredWeight({
      name: DOWN,
      left: dense(DOWN, [16, 3], draw(16, 3), 'bf16'),
      right: dense(DOWN, [3, 24], draw(3, 24)),
    });
    const taken = await trainableModel(model({ [DOWN]: factored }), { trainable: { kind: 'factors' }, seed: 1 });
    expect(Object.keys(taken.parameters).sort()).toEqual([
      'model.layers.0.mlp.down_proj.left.weight',
      'model.layers.0.mlp.down_proj.right.weight',
    ]);
    const { losses, weights } = await train(taken, 25);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    const after = weights.get(DOWN)!;
    expect(after).toMatchObject({ kind: 'factored', rank: 3, left: { dtype: 'bf16' }, right: { dtype: 'f32' } });
    expect(await after.toF32()).not.toEqual(await factored.toF32());
  });

  it('keeps the zeros of a pruned matrix, unless told not to', async () => {
    const pruned = start[DOWN]!.data.map((value, i) => (i % 2 === 0 ? 0 : value));
    const source = model({ [DOWN]: dense(DOWN, [16, 24], pruned) });
    const taken = await trainableModel(source, { seed: 1 });
    expect(Object.keys(taken.masks)).toEqual([DOWN]);
    const kept = await values((await train(taken, 5)).weights, DOWN);
    expect(kept.every((value, i) => (i % 2 === 0 ? value === 0 : value !== pruned[i]))).toBe(true);
    const free = await trainableModel(source, { keepZeros: false, seed: 1 });
    expect((await values((await train(free, 5)).weights, DOWN)).some((value, i) => i % 2 === 0 && value !== 0)).toBe(
      true,
    );
  });

  it('refuses choices of nothing and weights that have no gradient', async () => {
    await expect(trainableModel(model(), { trainable: { kind: 'factors' }, seed: 1 })).rejects.toThrow(
      /factors selects none/,
    );
    const quantized = { ...dense(DOWN, [16, 24], start[DOWN]!.data), kind: 'quantized' } as unknown as WeightTensor;
    await expect(trainableModel(model({ [DOWN]: quantized }), { seed: 1 })).rejects.toMatchObject({
      code: 'TRAINABLE_INVALID',
      details: { problems: [expect.stringContaining('train before quantizing')] },
    });
  });
});

describe('parseTrainable', () => {
  it('reads names, LoRA and patterns', () => {
    expect(parseTrainable('all')).toEqual({ kind: 'all' });
    expect(parseTrainable('lora')).toEqual({ kind: 'lora', rank: 8, alpha: 16 });
    expect(parseTrainable('lora:rank=4,alpha=4')).toEqual({ kind: 'lora', rank: 4, alpha: 4 });
    expect(parseTrainable('mlp.down_proj, norm')).toEqual({ kind: 'modules', include: ['mlp.down_proj', 'norm'] });
    expect(() => parseTrainable('lora:rank=0,aplha=3')).toThrow(
      /rank: must be at least 1, got 0; .*aplha: unknown, did you mean alpha/,
    );
    expect(() => parseTrainable('lora:rank=x')).toThrow(/rank must be a number/);
    expect(() => parseTrainable('a b')).toThrow(expect.objectContaining({ code: 'PATTERN_INVALID' }));
  });
});
