// Models for tests: made-up ones with every feature of an architecture, and copies with some slices set to zero.
import { createModel, describeArchitecture, expectedTensors, readModelConfig } from '@pith/model';
import type { LanguageModel } from '@pith/model';
import { denseWeight, fromF32, memoryBytes, randomStream, type WeightTensor } from '@pith/tensor-core';
import type { Slice } from './slice-groups.ts';

/** A dense weight in memory. */
export function memoryWeight(
  name: string,
  shape: readonly number[],
  data: Float32Array,
  dtype: 'f32' | 'bf16' = 'f32',
): WeightTensor {
  return denseWeight({ name, dtype, shape, source: memoryBytes(fromF32(dtype, data)) });
}

const CAUSAL = {
  llama: 'LlamaForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  mistral: 'MistralForCausalLM',
  mixtral: 'MixtralForCausalLM',
  qwen3_moe: 'Qwen3MoeForCausalLM',
  deepseek_v3: 'DeepseekV3ForCausalLM',
};

/** 2 key-value heads of 4 query heads, 3 layers, 24 neurons; further members as given. */
export function smallConfig(modelType: keyof typeof CAUSAL, more: object = {}): Record<string, unknown> {
  return {
    architectures: [CAUSAL[modelType]],
    model_type: modelType,
    vocab_size: 48,
    hidden_size: 32,
    intermediate_size: 24,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    hidden_act: 'silu',
    bos_token_id: 0,
    eos_token_id: 1,
    ...more,
  };
}

/** A model with random weights, biases and norms that are not one included. */
export function madeUpModel(config: object, dtype: 'f32' | 'bf16' = 'f32'): LanguageModel {
  const architecture = describeArchitecture(readModelConfig(config));
  const weights = expectedTensors(architecture).map(({ name, shape }) => {
    const random = randomStream(7, name);
    const norm = name.includes('norm');
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () =>
      norm ? 1 + 0.1 * random.normal() : 0.25 * random.normal(),
    );
    return [name, memoryWeight(name, shape, data, dtype)] as const;
  });
  return createModel({ config, weights: new Map(weights) });
}

/** The same model with these slices set to zero. */
export async function masked(model: LanguageModel, slices: readonly Slice[]): Promise<LanguageModel> {
  const weights = new Map(model.weights);
  for (const { name, axis, start, length } of slices) {
    const weight = weights.get(name)!;
    const data = (await weight.toF32()).slice();
    const columns = weight.shape[1] ?? 1;
    for (let i = 0; i < data.length; i++) {
      const index = axis === 'rows' ? Math.floor(i / columns) : i % columns;
      if (index >= start && index < start + length) data[i] = 0;
    }
    weights.set(name, memoryWeight(name, weight.shape, data));
  }
  return { ...model, weights };
}
