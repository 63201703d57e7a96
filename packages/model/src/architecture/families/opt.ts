import type { HfConfig } from '../../config/hf-config.ts';
import type { ModelConfig } from '../../config/model-config.ts';
import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { withPrefix } from '../rename.ts';

function layoutOf({ embeddingSize, hiddenSize, traits }: ModelConfig): Layout {
  const projected = embeddingSize !== hiddenSize;
  return {
    embedding: 'model.decoder.embed_tokens',
    positions: 'model.decoder.embed_positions',
    ...(projected && {
      inputProjection: 'model.decoder.project_in',
      outputProjection: { path: 'model.decoder.project_out', bias: false, activated: false },
    }),
    blocks: 'model.decoder.layers',
    norms: { attention: 'self_attn_layer_norm', feedForward: 'final_layer_norm' },
    attention: {
      kind: 'separate',
      query: 'self_attn.q_proj',
      key: 'self_attn.k_proj',
      value: 'self_attn.v_proj',
      output: 'self_attn.out_proj',
    },
    feedForward: { kind: 'plain', up: 'fc1', down: 'fc2' },
    ...(traits['finalNorm'] && { finalNorm: 'model.decoder.final_layer_norm' }),
    head: 'lm_head',
    rename: withPrefix('model', ['decoder']),
  };
}

const isPreNorm = (hf: HfConfig) => hf.do_layer_norm_before ?? true;

/** OPT (Zhang et al. 2022): learned positions from row 2 on; the model of 350 million weights has its norms behind the additions and a narrower embedding. */
export const opt: Family = {
  modelType: 'opt',
  headClasses: ['OPTForCausalLM'],
  members: { neurons: 'ffn_dim', headDim: false },
  readConfig: (hf) => {
    const bias = hf.enable_bias ?? true;
    return normalizeConfig(
      {
        ...hf,
        intermediate_size: hf.ffn_dim,
        hidden_act: hf.activation_function,
        // The class leaves the epsilon to torch.
        rms_norm_eps: undefined,
        layer_norm_eps: undefined,
      },
      {
        vocab_size: 50272,
        hidden_size: 768,
        intermediate_size: 3072,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        max_position_embeddings: 2048,
        norm_epsilon: 1e-5,
        hidden_act: 'relu',
        bos_token_id: 2,
        eos_token_id: 2,
        tie_word_embeddings: true,
      },
      {
        norm: { kind: 'layer', offset: 0, bias: true },
        rope: null,
        learnedPositions: (positions) => ({ offset: 2, rows: positions + 2 }),
        residual: isPreNorm(hf) ? 'pre' : 'post',
        biases: { queryKeyValue: bias, attentionOutput: bias, feedForward: bias },
        ...(hf.word_embed_proj_dim && { embeddingSize: hf.word_embed_proj_dim }),
        traits: { finalNorm: isPreNorm(hf) && !hf._remove_final_layer_norm },
      },
    );
  },
  unsupported: (hf) => (hf.layer_norm_elementwise_affine === false ? ['layer_norm_elementwise_affine false'] : []),
  describe: (config) => describeLayout(config, layoutOf(config)),
};
