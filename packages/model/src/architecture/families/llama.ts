// Llama (Touvron et al. 2023) and the models built alike: pre-norm blocks with RMSNorm, rotary grouped-query attention and a
// gated feed-forward part. Defaults throughout this folder: the configuration classes of transformers.
import type { HfConfig } from '../../config/hf-config.ts';
import type { ModelConfig } from '../../config/model-config.ts';
import { normalizeConfig, type ConfigNumbers } from '../../config/normalize.ts';
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

/** Defaults that Granite shares. */
export const LLAMA_NUMBERS: ConfigNumbers = {
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
};

/** Biases where a config asks for them, of attention and of the feed-forward part apart. */
export function llamaBiases({ attention_bias: attention, mlp_bias: feedForward }: HfConfig): ModelConfig['biases'] {
  return {
    queryKeyValue: attention ?? false,
    attentionOutput: attention ?? false,
    feedForward: feedForward ?? false,
  };
}

/** Llama 1 to 3, and whatever calls itself so. */
export const llama: Family = {
  modelType: 'llama',
  headClasses: ['LlamaForCausalLM'],
  readConfig: (hf) => normalizeConfig(hf, LLAMA_NUMBERS, { rope: { theta: 10000 }, biases: llamaBiases(hf) }),
  describe: (config) => describeLayout(config, llamaLayout),
};
