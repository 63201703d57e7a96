import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { withPrefix } from '../rename.ts';

/** Names of modules that BLOOM and Falcon share. */
export const bloomModules = {
  embedding: 'transformer.word_embeddings',
  blocks: 'transformer.h',
  attention: {
    kind: 'fused',
    queryKeyValue: 'self_attention.query_key_value',
    order: 'groups',
    output: 'self_attention.dense',
  },
  feedForward: { kind: 'plain', up: 'mlp.dense_h_to_4h', down: 'mlp.dense_4h_to_h' },
  finalNorm: 'transformer.ln_f',
  head: 'lm_head',
} as const satisfies Omit<Layout, 'norms'>;

const layout: Layout = {
  ...bloomModules,
  embeddingNorm: 'transformer.word_embeddings_layernorm',
  norms: { attention: 'input_layernorm', feedForward: 'post_attention_layernorm' },
  rename: withPrefix('transformer', ['word_embeddings', 'word_embeddings_layernorm', 'h', 'ln_f']),
};

/** BLOOM (Scao et al. 2022): linear biases, a norm behind the embedding. */
export const bloom: Family = {
  modelType: 'bloom',
  headClasses: ['BloomForCausalLM'],
  members: { layers: 'n_layer', neurons: null, headDim: false },
  readConfig: (hf) =>
    normalizeConfig(
      {
        ...hf,
        hidden_size: hf.n_embed ?? hf.hidden_size,
        num_hidden_layers: hf.n_layer ?? hf.num_hidden_layers,
        num_attention_heads: hf.n_head ?? hf.num_attention_heads,
        intermediate_size: undefined,
        hidden_act: undefined,
        layer_norm_eps: hf.layer_norm_epsilon,
      },
      {
        vocab_size: 250880,
        hidden_size: 64,
        intermediate_size: (width) => 4 * width,
        num_hidden_layers: 2,
        num_attention_heads: 8,
        // Linear biases know no end; all published models were trained on 2048.
        max_position_embeddings: 2048,
        norm_epsilon: 1e-5,
        hidden_act: 'gelu_new',
        bos_token_id: 1,
        eos_token_id: 2,
        tie_word_embeddings: true,
      },
      {
        norm: { kind: 'layer', offset: 0, bias: true },
        rope: null,
        alibi: { roundedToBf16: false, beforeScale: false },
        biases: { queryKeyValue: true, attentionOutput: true, feedForward: true },
      },
    ),
  unsupported: (hf) =>
    hf.apply_residual_connection_post_layernorm ? ['apply_residual_connection_post_layernorm true'] : [],
  describe: (config) => describeLayout(config, layout),
};
