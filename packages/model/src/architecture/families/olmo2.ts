import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { llamaLayout } from './llama.ts';

const layout: Layout = {
  ...llamaLayout,
  norms: { afterAttention: 'post_attention_layernorm', afterFeedForward: 'post_feedforward_layernorm' },
};

/** OLMo 2 (OLMo Team 2024): norms of what is added to the stream, and of queries and keys over all heads. */
export const olmo2: Family = {
  modelType: 'olmo2',
  headClasses: ['Olmo2ForCausalLM'],
  readConfig: (hf) => {
    const bias = hf.attention_bias ?? false;
    return normalizeConfig(
      hf,
      {
        vocab_size: 50304,
        hidden_size: 4096,
        intermediate_size: 11008,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        max_position_embeddings: 2048,
        norm_epsilon: 1e-5,
        hidden_act: 'silu',
        bos_token_id: null,
        eos_token_id: 50279,
        tie_word_embeddings: false,
      },
      {
        rope: { theta: 10000 },
        residual: 'after',
        biases: { queryKeyValue: bias, attentionOutput: bias, feedForward: false },
        queryKeyNorm: (norm) => ({ over: 'whole', norm }),
      },
    );
  },
  describe: (config) => describeLayout(config, layout),
};
