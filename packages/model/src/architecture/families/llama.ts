// Llama (Touvron et al. 2023) and the models built alike: pre-norm blocks with RMSNorm, rotary grouped-query attention and a
// gated feed-forward part. Defaults throughout this folder: the configuration classes of transformers.
import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { withPrefix } from '../rename.ts';

/** Names of modules that most architectures since Llama share. */
export const llamaLayout: Layout = {
  embedding: 'model.embed_tokens',
  blocks: 'model.layers',
  norms: { attention: 'input_layernorm', feedForward: 'post_attention_layernorm' },
  attention: {
    kind: 'separate',
    query: 'self_attn.q_proj',
    key: 'self_attn.k_proj',
    value: 'self_attn.v_proj',
    output: 'self_attn.o_proj',
    norms: { query: 'self_attn.q_norm', key: 'self_attn.k_norm' },
  },
  feedForward: { kind: 'gated', gate: 'mlp.gate_proj', up: 'mlp.up_proj', down: 'mlp.down_proj' },
  finalNorm: 'model.norm',
  head: 'lm_head',
  rename: withPrefix('model', ['embed_tokens', 'layers', 'norm']),
};

/** Llama 1 to 3, and whatever calls itself so. */
export const llama: Family = {
  modelType: 'llama',
  headClasses: ['LlamaForCausalLM'],
  readConfig: (hf) =>
    normalizeConfig(
      hf,
      {
        vocab_size: 32000,
        hidden_size: 4096,
        intermediate_size: 11008,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        max_position_embeddings: 2048,
        norm_epsilon: 1e-6,
        hidden_act: 'silu',
        bos_token_id: 1,
        eos_token_id: 2,
        tie_word_embeddings: false,
      },
      {
        rope: { theta: 10000 },
        biases: {
          queryKeyValue: hf.attention_bias ?? false,
          attentionOutput: hf.attention_bias ?? false,
          feedForward: hf.mlp_bias ?? false,
        },
      },
    ),
  describe: (config) => describeLayout(config, llamaLayout),
};
