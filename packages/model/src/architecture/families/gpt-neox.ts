import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { withPrefix } from '../rename.ts';

const layout: Layout = {
  embedding: 'gpt_neox.embed_in',
  blocks: 'gpt_neox.layers',
  norms: { attention: 'input_layernorm', feedForward: 'post_attention_layernorm' },
  attention: {
    kind: 'fused',
    queryKeyValue: 'attention.query_key_value',
    order: 'groups',
    output: 'attention.dense',
  },
  feedForward: { kind: 'plain', up: 'mlp.dense_h_to_4h', down: 'mlp.dense_4h_to_h' },
  finalNorm: 'gpt_neox.final_layer_norm',
  head: 'embed_out',
  rename: withPrefix('gpt_neox', ['embed_in', 'layers', 'final_layer_norm']),
  // Causal masks and frequencies that were stored.
  ignored: [/\.attention\.(?:bias|masked_bias|rotary_emb\.inv_freq)$/],
};

/** GPT-NeoX and Pythia (Black et al. 2022): both parts of a block side by side, a quarter of each head rotated. */
export const gptNeox: Family = {
  modelType: 'gpt_neox',
  headClasses: ['GPTNeoXForCausalLM'],
  members: { headDim: false },
  readConfig: (hf) => {
    const bias = hf.attention_bias ?? true;
    return normalizeConfig(
      {
        ...hf,
        rope_theta: hf.rotary_emb_base ?? hf.rope_theta,
        partial_rotary_factor: hf.rotary_pct ?? hf.partial_rotary_factor,
      },
      {
        vocab_size: 50432,
        hidden_size: 6144,
        intermediate_size: 24576,
        num_hidden_layers: 44,
        num_attention_heads: 64,
        max_position_embeddings: 2048,
        norm_epsilon: 1e-5,
        hidden_act: 'gelu',
        bos_token_id: 0,
        eos_token_id: 2,
        tie_word_embeddings: false,
      },
      {
        norm: { kind: 'layer', offset: 0, bias: true },
        rope: { theta: 10000, partial: 0.25 },
        residual: (hf.use_parallel_residual ?? true) ? 'parallel-two-norms' : 'pre',
        biases: { queryKeyValue: bias, attentionOutput: bias, feedForward: true },
      },
    );
  },
  describe: (config) => describeLayout(config, layout),
};
