// Llamas small enough to train in a test, and a rule that they can learn.
import { createModel, describeArchitecture, expectedTensors, initialParameters, readModelConfig } from '@pith/model';
import type { LanguageModel, Tokenizer } from '@pith/model';
import { denseWeight, fromF32, memoryBytes } from '@pith/tensor-core';

/** The config of a llama with 11 tokens; 2 layers, hidden 16, 4 query and 2 key-value heads unless changed. */
export const tinyConfig = (changes: Readonly<Record<string, unknown>> = {}) => ({
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 11,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 1,
  ...changes,
});

/** A tokenizer whose tokens are `t0`, `t1`, ... unless named. */
export const tokenizerOf = (tokens: readonly string[]): Tokenizer => ({
  size: tokens.length,
  tokenOf: (id) => tokens[id],
  encode: () => Int32Array.of(),
  encodeWithSpecial: () => ({ ids: Int32Array.of(), segments: Int32Array.of() }),
  decode: (ids) => Array.from(ids, (id) => tokens[id]).join(''),
});

/** A model with random weights. */
export function tinyModel(
  seed: number,
  changes: Readonly<Record<string, unknown>> = {},
  tokenizer: Tokenizer | null = null,
): LanguageModel {
  const config = tinyConfig(changes);
  const architecture = describeArchitecture(readModelConfig(config));
  const parameters = initialParameters(architecture, { seed, deviation: 0.3 });
  const weights = new Map(
    expectedTensors(architecture).map(({ name, shape }) => {
      const source = memoryBytes(fromF32('f32', parameters[name]!.data));
      return [name, denseWeight({ name, dtype: 'f32', shape, source })] as const;
    }),
  );
  return createModel({ config, weights, tokenizer });
}

/** Windows of 9 tokens that count by two over 2 to 10. */
export const countingWindows = (count: number): Int32Array[] =>
  Array.from({ length: count }, (_, w) =>
    Int32Array.from({ length: 9 }, (_token, i) => (i === 0 ? 0 : 2 + ((2 * (8 * w + i)) % 9))),
  );
