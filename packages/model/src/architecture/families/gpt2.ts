import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { withPrefix } from '../rename.ts';

const layout: Layout = {
  embedding: 'transformer.wte',
  positions: 'transformer.wpe',
  blocks: 'transformer.h',
  norms: { attention: 'ln_1', feedForward: 'ln_2' },
  attention: { kind: 'fused', queryKeyValue: 'attn.c_attn', order: 'parts', output: 'attn.c_proj' },
  feedForward: { kind: 'plain', up: 'mlp.c_fc', down: 'mlp.c_proj' },
  finalNorm: 'transformer.ln_f',
  head: 'lm_head',
  transposed: true,
  // Causal masks that were stored.
  ignored: [/\.attn\.(?:bias|masked_bias)$/],
  rename: withPrefix('transformer', ['wte', 'wpe', 'ln_f', 'h']),
};

/** GPT-2 (Radford et al. 2019): learned positions, layer norms, matrices stored [in, out]. */
export const gpt2: Family = {
  modelType: 'gpt2',
  headClasses: ['GPT2LMHeadModel'],
  compressedTensorsNote:
    'its matrices are no `Linear` modules there, and it loads random ones without a word; Pith reads them, other runtimes were not tried',
  members: { layers: 'n_layer', neurons: 'n_inner', headDim: false },
  readConfig: (hf) =>
    normalizeConfig(
      {
        ...hf,
        hidden_size: hf.n_embd ?? hf.hidden_size,
        num_hidden_layers: hf.n_layer ?? hf.num_hidden_layers,
        num_attention_heads: hf.n_head ?? hf.num_attention_heads,
        max_position_embeddings: hf.n_positions ?? hf.max_position_embeddings,
        intermediate_size: hf.n_inner ?? undefined,
        hidden_act: hf.activation_function,
        layer_norm_eps: hf.layer_norm_epsilon,
      },
      {
        vocab_size: 50257,
        hidden_size: 768,
        intermediate_size: (width) => 4 * width,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        max_position_embeddings: 1024,
        norm_epsilon: 1e-5,
        hidden_act: 'gelu_new',
        bos_token_id: 50256,
        eos_token_id: 50256,
        tie_word_embeddings: true,
      },
      {
        norm: { kind: 'layer', offset: 0, bias: true },
        rope: null,
        learnedPositions: (rows) => ({ offset: 0, rows }),
        biases: { queryKeyValue: true, attentionOutput: true, feedForward: true },
        ...(hf.scale_attn_weights === false && { attentionScale: 1 }),
      },
    ),
  unsupported: (hf) => [
    ...(hf.scale_attn_by_inverse_layer_idx ? ['scale_attn_by_inverse_layer_idx true'] : []),
    ...(hf.add_cross_attention ? ['add_cross_attention true'] : []),
  ],
  describe: (config) => describeLayout(config, layout),
};
