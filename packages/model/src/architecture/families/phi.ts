// Phi 1 to 2 (Li et al. 2023): attention and feed-forward part side by side behind one layer norm, half of each head rotated.
// Phi-3 and 4 (Abdin et al. 2024): Llama with fused matrices and LongRoPE.
import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { withPrefix } from '../rename.ts';
import { llamaLayout } from './llama.ts';

const layout: Layout = {
  embedding: 'model.embed_tokens',
  blocks: 'model.layers',
  norms: { attention: 'input_layernorm' },
  attention: {
    kind: 'separate',
    query: 'self_attn.q_proj',
    key: 'self_attn.k_proj',
    value: 'self_attn.v_proj',
    output: 'self_attn.dense',
    norms: { query: 'self_attn.q_layernorm', key: 'self_attn.k_layernorm' },
  },
  feedForward: { kind: 'plain', up: 'mlp.fc1', down: 'mlp.fc2' },
  finalNorm: 'model.final_layernorm',
  head: 'lm_head',
  headBias: 'lm_head.bias',
  rename: withPrefix('model', ['embed_tokens', 'layers', 'final_layernorm']),
};

/** Phi-1, Phi-1.5, Phi-2. */
export const phi: Family = {
  modelType: 'phi',
  headClasses: ['PhiForCausalLM'],
  members: { headDim: false },
  readConfig: (hf) =>
    normalizeConfig(
      hf,
      {
        vocab_size: 51200,
        hidden_size: 2048,
        intermediate_size: 8192,
        num_hidden_layers: 24,
        num_attention_heads: 32,
        max_position_embeddings: 2048,
        norm_epsilon: 1e-5,
        hidden_act: 'gelu_new',
        bos_token_id: 1,
        eos_token_id: 2,
        tie_word_embeddings: false,
      },
      {
        norm: { kind: 'layer', offset: 0, bias: true },
        rope: { theta: 10000, partial: 0.5 },
        residual: 'parallel',
        biases: { queryKeyValue: true, attentionOutput: true, feedForward: true },
        ...(hf.qk_layernorm && { queryKeyNorm: (norm) => ({ over: 'head', norm }) }),
      },
    ),
  describe: (config) => describeLayout(config, layout),
};

const fusedLayout: Layout = {
  ...llamaLayout,
  attention: {
    kind: 'fused',
    queryKeyValue: 'self_attn.qkv_proj',
    order: 'parts',
    output: 'self_attn.o_proj',
  },
  feedForward: { kind: 'gated-fused', gateUp: 'mlp.gate_up_proj', down: 'mlp.down_proj' },
};

/** Phi-3, Phi-3.5, Phi-4. */
export const phi3: Family = {
  modelType: 'phi3',
  headClasses: ['Phi3ForCausalLM'],
  readConfig: (hf) =>
    normalizeConfig(
      { ...hf, original_max_position_embeddings: hf.original_max_position_embeddings ?? 4096 },
      {
        vocab_size: 32064,
        hidden_size: 3072,
        intermediate_size: 8192,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        max_position_embeddings: 4096,
        norm_epsilon: 1e-5,
        hidden_act: 'silu',
        bos_token_id: 1,
        eos_token_id: 32000,
        tie_word_embeddings: false,
      },
      { rope: { theta: 10000, partial: 1 }, window: () => hf.sliding_window ?? null },
    ),
  describe: (config) => describeLayout(config, fusedLayout),
};
