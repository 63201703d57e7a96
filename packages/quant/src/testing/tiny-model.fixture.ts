// A small llama-like model with random weights, grouped queries, biases where asked for, and inputs of unequal size: what
// passes are tried on.
import { createModel, describeArchitecture, expectedTensors, readModelConfig, runBlocks } from '@pith/model';
import type { BlockOutcome, BlockPass, BlockRunOptions, LanguageModel, PlannedModel } from '@pith/model';
import { plannedWeight } from '@pith/model';
import {
  denseWeight,
  factoredWeight,
  factorNames,
  fromF32,
  memoryBytes,
  randomStream,
  type DenseWeight,
  type WeightTensor,
} from '@pith/tensor-core';

/** config.json of the model. */
export const TINY_CONFIG = Object.freeze({
  model_type: 'llama',
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 40,
  max_position_embeddings: 128,
  bos_token_id: 1,
  tie_word_embeddings: true,
  attention_bias: true,
});

/** A dense weight in memory. */
export function memoryWeight(
  name: string,
  shape: readonly number[],
  values: Float32Array,
  dtype: 'f32' | 'bf16' | 'f16' = 'f32',
): DenseWeight {
  return denseWeight({ name, dtype, shape, source: memoryBytes(fromF32(dtype, values)) });
}

/** The model; every fourth feature of the norms is large, as in real models some are. */
export function tinyModel(dtype: 'f32' | 'bf16' = 'f32', changes: Record<string, unknown> = {}): LanguageModel {
  const json = { ...TINY_CONFIG, ...changes };
  const weights = expectedTensors(describeArchitecture(readModelConfig(json))).map(({ name, shape }) => {
    const random = randomStream(1, name);
    const size = shape.reduce((a, b) => a * b, 1);
    const norm = name.endsWith('norm.weight');
    const scale = norm ? 1 : shape.length === 1 ? 0.1 : 1 / Math.sqrt(shape[1]!);
    const values = Float32Array.from({ length: size }, (_, i) =>
      norm ? (i % 4 === 0 ? 6 : 0.7) + 0.1 * random.normal() : scale * random.normal(),
    );
    return [name, memoryWeight(name, shape, values, dtype)] as const;
  });
  return createModel({ config: json, weights: new Map<string, WeightTensor>(weights) });
}

/** What a plan sees of a model. */
export function planned(model: LanguageModel, config: Record<string, unknown> = TINY_CONFIG): PlannedModel {
  const weights = new Map([...model.weights].map(([name, weight]) => [name, plannedWeight(weight)]));
  return { config, architecture: model.architecture, weights };
}

/** Windows of pseudo-random tokens. */
export function tinyWindows(count = 8, context = 24, vocabulary = 40): Int32Array[] {
  return Array.from({ length: count }, (_, w) => {
    const random = randomStream(2, `window ${w}`);
    return Int32Array.from({ length: context }, (_, i) => (i === 0 ? 1 : random.below(vocabulary)));
  });
}

/** Runs passes over all blocks; gives the weights of the new model and what happened. */
export async function runPasses(
  model: LanguageModel,
  passes: readonly BlockPass[],
  options: Pick<BlockRunOptions, 'device' | 'pool'> & Partial<BlockRunOptions>,
): Promise<{ model: LanguageModel; outcomes: BlockOutcome[] }> {
  const outcomes: BlockOutcome[] = [];
  const weights = new Map(model.weights);
  await runBlocks(model, {
    windows: tinyWindows(),
    passes,
    ...options,
    onBlock: async (outcome) => {
      outcomes.push(outcome);
      for (const [name, weight] of outcome.weights) weights.set(name, weight);
    },
  });
  return { model: { ...model, weights }, outcomes };
}

/** The tiny model with the weight of this name, [32, 48], as two factors of rank 8. */
export function tinyFactoredModel(name: string): LanguageModel {
  const model = tinyModel();
  const names = factorNames(name);
  const values = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * i));
  const left = memoryWeight(names.left, [32, 8], values(256));
  const right = memoryWeight(names.right, [8, 48], values(384));
  const weights = new Map<string, WeightTensor>(model.weights).set(name, factoredWeight({ name, left, right }));
  return { ...model, weights };
}
