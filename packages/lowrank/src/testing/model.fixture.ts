// A small model with made-up weights in memory, and its plan.
import { createModel, describeArchitecture, expectedTensors, plannedWeight, readModelConfig } from '@pith/model';
import type { LanguageModel, PlannedModel } from '@pith/model';
import { denseWeight, memoryBytes, randomStream } from '@pith/tensor-core';
import type { DenseWeight } from '@pith/tensor-core';

/** An f32 weight in memory. */
export function memoryWeight(name: string, shape: readonly number[], values: Float32Array): DenseWeight {
  return denseWeight({ name, dtype: 'f32', shape, source: memoryBytes(new Uint8Array(values.buffer)) });
}

/** config.json of the model; query and key-value projections have biases. */
export const CONFIG = {
  model_type: 'qwen2',
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 50,
  max_position_embeddings: 64,
  bos_token_id: 1,
  tie_word_embeddings: true,
};

/** The model; `change` may replace the values of a weight. */
export function smallModel(change: (name: string, values: Float32Array) => void = () => undefined): LanguageModel {
  const architecture = describeArchitecture(readModelConfig(CONFIG));
  const weights = expectedTensors(architecture).map(({ name, shape }) => {
    const random = randomStream(7, name);
    const size = shape.reduce((a, b) => a * b, 1);
    const scale = shape.length === 1 ? 0.1 : 1 / Math.sqrt(shape[1]);
    const centre = shape.length === 1 && name.includes('norm') ? 1 : 0;
    const values = Float32Array.from({ length: size }, () => centre + scale * random.normal());
    change(name, values);
    return [name, memoryWeight(name, shape, values)] as const;
  });
  return createModel({ config: CONFIG, weights: new Map(weights) });
}

/** What a technique plans with. */
export function planned({ architecture, weights }: LanguageModel): PlannedModel {
  return {
    ...{ config: CONFIG, architecture },
    weights: new Map([...weights].map(([name, weight]) => [name, plannedWeight(weight)])),
  };
}

/** Windows of made-up tokens, int32 [16] each. */
export const WINDOWS = Array.from({ length: 6 }, (_, window) =>
  Int32Array.from({ length: 16 }, (__, i) => (i === 0 ? 1 : (window * 13 + i * i * 7) % 50)),
);
