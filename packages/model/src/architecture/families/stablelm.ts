import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { llamaLayout } from './llama.ts';

const layout: Layout = {
  ...llamaLayout,
  attention: {
    ...llamaLayout.attention,
    norms: { query: 'self_attn.q_layernorm', key: 'self_attn.k_layernorm', eachHead: true },
  },
};

/** StableLM (Bellagente et al. 2024): Llama with layer norms, a quarter of each head rotated; its 12B puts the parts side by side. */
export const stablelm: Family = {
  modelType: 'stablelm',
  headClasses: ['StableLmForCausalLM'],
  members: { headDim: false },
  readConfig: (hf) =>
    normalizeConfig(
      hf,
      {
        vocab_size: 50304,
        hidden_size: 2560,
        intermediate_size: 6912,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        num_key_value_heads: 32,
        max_position_embeddings: 4096,
        norm_epsilon: 1e-5,
        hidden_act: 'silu',
        bos_token_id: 0,
        eos_token_id: 0,
        tie_word_embeddings: false,
      },
      {
        norm: { kind: 'layer', offset: 0, bias: true },
        rope: { theta: 10000, partial: 0.25 },
        residual: hf.use_parallel_residual ? 'parallel' : 'pre',
        biases: { queryKeyValue: hf.use_qkv_bias ?? false, attentionOutput: false, feedForward: false },
        ...(hf.qk_layernorm && {
          queryKeyNorm: (norm) => ({ over: 'each-head', norm: { ...norm, bias: false } }),
        }),
      },
    ),
  describe: (config) => describeLayout(config, layout),
};
