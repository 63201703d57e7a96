import type { HfConfig } from '../../config/hf-config.ts';
import type { ModelConfig } from '../../config/model-config.ts';
import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { withPrefix } from '../rename.ts';
import { bloomModules } from './bloom.ts';

function layoutOf({ residual }: ModelConfig): Layout {
  const norms =
    residual === 'parallel-two-norms'
      ? { attention: 'ln_attn', feedForward: 'ln_mlp' }
      : { attention: 'input_layernorm', feedForward: 'post_attention_layernorm' };
  return {
    ...bloomModules,
    norms,
    rename: withPrefix('transformer', ['word_embeddings', 'h', 'ln_f']),
  };
}

const isNew = (hf: HfConfig) => hf.new_decoder_architecture ?? false;
const isParallel = (hf: HfConfig) => hf.parallel_attn ?? true;

/** Key heads: one for all queries in the first models, as many as the config says in later ones. */
function keyValueHeads(hf: HfConfig, heads: number): number {
  return !isNew(hf) && (hf.multi_query ?? true) ? 1 : (hf.num_kv_heads ?? heads);
}

function residualOf(hf: HfConfig): ModelConfig['residual'] {
  if (!isParallel(hf)) return 'pre';
  return isNew(hf) && (hf.num_ln_in_parallel_attn ?? 2) === 2 ? 'parallel-two-norms' : 'parallel';
}

/** Falcon (Almazrouei et al. 2023): multi-query attention, later grouped; rotary embedding or linear biases. */
export const falcon: Family = {
  modelType: 'falcon',
  headClasses: ['FalconForCausalLM'],
  compressedTensorsNote:
    'its own class of linear layers reads the dense weight, which is not there; Pith reads it, other runtimes were not tried',
  members: { neurons: 'ffn_hidden_size', headDim: false },
  readConfig: (hf) => {
    const heads = hf.num_attention_heads ?? hf.n_head ?? 71;
    const bias = hf.bias ?? false;
    return normalizeConfig(
      {
        ...hf,
        hidden_size: hf.n_embed ?? hf.hidden_size,
        num_hidden_layers: hf.num_hidden_layers ?? hf.n_layer,
        num_attention_heads: heads,
        num_key_value_heads: keyValueHeads(hf, heads),
        intermediate_size: hf.ffn_hidden_size ?? undefined,
        hidden_act: hf.activation,
        layer_norm_eps: hf.layer_norm_epsilon,
      },
      {
        vocab_size: 65024,
        hidden_size: 4544,
        intermediate_size: (width) => 4 * width,
        num_hidden_layers: 32,
        num_attention_heads: 71,
        max_position_embeddings: 2048,
        norm_epsilon: 1e-5,
        hidden_act: 'gelu',
        bos_token_id: 11,
        eos_token_id: 11,
        tie_word_embeddings: true,
      },
      {
        norm: { kind: 'layer', offset: 0, bias: true },
        rope: hf.alibi ? null : { theta: 10000 },
        alibi: hf.alibi ? { roundedToBf16: true, beforeScale: true } : null,
        residual: residualOf(hf),
        biases: { queryKeyValue: bias, attentionOutput: bias, feedForward: bias },
      },
    );
  },
  unsupported: (hf) => [
    ...(isNew(hf) && !isParallel(hf) ? ['new_decoder_architecture with parallel_attn false'] : []),
    ...(!isNew(hf) && hf.num_ln_in_parallel_attn === 2 ? ['two norms without new_decoder_architecture'] : []),
  ],
  describe: (config) => describeLayout(config, layoutOf(config)),
};
