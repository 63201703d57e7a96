// Gemma 1 to 3 (Gemma Team 2024, 2024, 2025): norms that multiply by 1 + weight, a scaled embedding that is the head too, tanh
// gelu; Gemma 2 adds norms on both sides and soft caps, Gemma 3 norms of queries and keys and two ropes.
import type { HfConfig } from '../../config/hf-config.ts';
import { normalizeConfig, type ArchitectureFacts, type ConfigNumbers } from '../../config/normalize.ts';
import { ropeOf } from '../../config/read-rope.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { llamaLayout } from './llama.ts';

const NUMBERS: ConfigNumbers = {
  vocab_size: 256000,
  hidden_size: 3072,
  intermediate_size: 24576,
  num_hidden_layers: 28,
  num_attention_heads: 16,
  num_key_value_heads: 16,
  head_dim: 256,
  max_position_embeddings: 8192,
  norm_epsilon: 1e-6,
  hidden_act: 'gelu_pytorch_tanh',
  bos_token_id: 2,
  eos_token_id: 1,
  tie_word_embeddings: true,
};

function facts(hf: HfConfig): Omit<ArchitectureFacts, 'rope'> {
  const bias = hf.attention_bias ?? false;
  return {
    norm: { kind: 'rms', offset: 1, bias: false },
    biases: { queryKeyValue: bias, attentionOutput: bias, feedForward: false },
    embeddingScale: (hiddenSize) => Math.fround(Math.sqrt(hiddenSize)),
  };
}

/** The first Gemma. */
export const gemma: Family = {
  modelType: 'gemma',
  headClasses: ['GemmaForCausalLM'],
  // Its configs say `gelu` by mistake; transformers of that time read `hidden_activation` and took the tanh form without it.
  readConfig: (hf) => {
    const act = hf.hidden_activation ?? (hf.hidden_act === 'gelu' ? 'gelu_pytorch_tanh' : hf.hidden_act);
    return normalizeConfig({ ...hf, hidden_act: act }, NUMBERS, { ...facts(hf), rope: { theta: 10000 } });
  },
  unsupported: (hf) => bidirectional(hf),
  describe: (config) => describeLayout(config, llamaLayout),
};

const sandwichLayout: Layout = {
  ...llamaLayout,
  norms: {
    attention: 'input_layernorm',
    afterAttention: 'post_attention_layernorm',
    feedForward: 'pre_feedforward_layernorm',
    afterFeedForward: 'post_feedforward_layernorm',
  },
};

const SECOND: ConfigNumbers = {
  ...NUMBERS,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
};

/** Null where the file says null, the default where it says nothing. */
const capOf = (value: number | null | undefined, otherwise: number | null) => (value === undefined ? otherwise : value);

/** Every so many blocks one sees all tokens, the others a window. */
function isWindowed(hf: HfConfig, pattern: number): (layer: number) => boolean {
  return (layer) => (hf.layer_types ? hf.layer_types[layer] === 'sliding_attention' : (layer + 1) % pattern !== 0);
}

/** The pattern of windows no longer follows from the index once a layer is gone. */
const layerMembers: NonNullable<Family['layerMembers']> = ({ layers, windows }) => ({
  num_hidden_layers: layers,
  layer_types: windows.map((window) => (window === null ? 'full_attention' : 'sliding_attention')),
});

const windowSize = (hf: HfConfig) => (hf.sliding_window === undefined ? 4096 : hf.sliding_window);

/** Gemma 2. */
export const gemma2: Family = {
  modelType: 'gemma2',
  headClasses: ['Gemma2ForCausalLM'],
  layerMembers,
  readConfig: (hf) => {
    const windowed = isWindowed(hf, 2);
    return normalizeConfig({ ...hf, hidden_act: hf.hidden_activation ?? undefined }, SECOND, {
      ...facts(hf),
      rope: { theta: 10000 },
      residual: 'sandwich',
      window: (layer) => (windowed(layer) ? windowSize(hf) : null),
      attentionScale: (hf.query_pre_attn_scalar ?? 256) ** -0.5,
      attentionSoftCap: capOf(hf.attn_logit_softcapping, 50),
      logitSoftCap: capOf(hf.final_logit_softcapping, 30),
    });
  },
  unsupported: (hf) => bidirectional(hf),
  describe: (config) => describeLayout(config, sandwichLayout),
};

/** The text model of Gemma 3. */
export const gemma3Text: Family = {
  modelType: 'gemma3_text',
  headClasses: ['Gemma3ForCausalLM'],
  layerMembers,
  readConfig: (hf) => {
    const windowed = isWindowed(hf, hf.sliding_window_pattern ?? 6);
    const { rope_parameters: given, rope_scaling: scaling } = hf;
    const full = scaling ?? given?.full_attention ?? (given?.sliding_attention ? {} : ropeOf(hf));
    const sliding = given?.sliding_attention ?? {};
    return normalizeConfig(
      { ...hf, hidden_act: hf.hidden_activation ?? undefined },
      { ...SECOND, vocab_size: 262208, max_position_embeddings: 131072 },
      {
        ...facts(hf),
        rope: (layer) =>
          windowed(layer)
            ? {
                entry: { ...sliding, rope_theta: sliding.rope_theta ?? hf.rope_local_base_freq ?? 10000 },
                defaults: { theta: 10000 },
              }
            : { entry: full, defaults: { theta: 1e6 } },
        queryKeyNorm: (norm) => ({ over: 'head', norm }),
        residual: 'sandwich',
        window: (layer) => (windowed(layer) ? windowSize(hf) : null),
        attentionScale: (hf.query_pre_attn_scalar ?? 256) ** -0.5,
        // Its attention has none, whatever `attn_logit_softcapping` says: so does transformers.
        logitSoftCap: capOf(hf.final_logit_softcapping, null),
      },
    );
  },
  unsupported: (hf) => bidirectional(hf),
  describe: (config) => describeLayout(config, sandwichLayout),
};

function bidirectional({ use_bidirectional_attention: both }: HfConfig): string[] {
  return both ? ['use_bidirectional_attention true: the model is run as one that sees earlier tokens only'] : [];
}
