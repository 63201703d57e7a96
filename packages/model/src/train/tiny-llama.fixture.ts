// A llama small enough for finite differences, and a task that it can learn.
import { describeArchitecture } from '../architecture/registry.ts';
import { readModelConfig } from '../config/read-config.ts';

/** 2 layers, hidden 16, 4 query and 2 key-value heads, 11 tokens, tied. */
export const tinyLlama = describeArchitecture(
  readModelConfig({
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
  }),
);

/** Counting by two over the tokens 2 to 10: a rule that is learnt in a few steps. */
export const countingTokens = Int32Array.from({ length: 400 }, (_, i) => 2 + ((2 * i) % 9));
