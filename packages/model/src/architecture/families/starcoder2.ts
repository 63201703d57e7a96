import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { llamaLayout } from './llama.ts';

const layout: Layout = { ...llamaLayout, feedForward: { kind: 'plain', up: 'mlp.c_fc', down: 'mlp.c_proj' } };

/** StarCoder2 (Lozhkov et al. 2024): layer norms, biases everywhere, a plain feed-forward part. */
export const starcoder2: Family = {
  modelType: 'starcoder2',
  headClasses: ['Starcoder2ForCausalLM'],
  members: { headDim: false },
  readConfig: (hf) => {
    const bias = hf.use_bias ?? true;
    return normalizeConfig(
      { ...hf, layer_norm_eps: hf.norm_epsilon },
      {
        vocab_size: 49152,
        hidden_size: 3072,
        intermediate_size: 12288,
        num_hidden_layers: 30,
        num_attention_heads: 24,
        num_key_value_heads: 2,
        max_position_embeddings: 4096,
        norm_epsilon: 1e-5,
        hidden_act: 'gelu_pytorch_tanh',
        bos_token_id: 50256,
        eos_token_id: 50256,
        tie_word_embeddings: true,
      },
      {
        norm: { kind: 'layer', offset: 0, bias: true },
        rope: { theta: 10000 },
        biases: { queryKeyValue: bias, attentionOutput: bias, feedForward: bias },
        window: () => hf.sliding_window ?? null,
      },
    );
  },
  describe: (config) => describeLayout(config, layout),
};
