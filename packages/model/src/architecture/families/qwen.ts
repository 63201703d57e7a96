// Qwen2 and 2.5 (Yang et al. 2024), Qwen3 and its mixtures of experts (Yang et al. 2025).
import type { HfConfig } from '../../config/hf-config.ts';
import { normalizeConfig, PLAIN_ROUTING, type ArchitectureFacts, type ConfigNumbers } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { llamaLayout } from './llama.ts';

const NUMBERS: ConfigNumbers = {
  vocab_size: 151936,
  hidden_size: 4096,
  intermediate_size: 22016,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  max_position_embeddings: 32768,
  norm_epsilon: 1e-6,
  hidden_act: 'silu',
  bos_token_id: null,
  eos_token_id: null,
  tie_word_embeddings: false,
};

/** A window in the blocks from `max_window_layers` on, or in those that `layer_types` names, where `use_sliding_window` says so. */
function windowOf(hf: HfConfig): NonNullable<ArchitectureFacts['window']> {
  const window = hf.use_sliding_window ? (hf.sliding_window === undefined ? 4096 : hf.sliding_window) : null;
  const firstWindowed = hf.max_window_layers ?? 28;
  return (layer) => {
    if (hf.layer_types) return hf.layer_types[layer] === 'sliding_attention' ? window : null;
    return layer >= firstWindowed ? window : null;
  };
}

/**
 * Windows are written as `max_window_layers` where the windowed layers come last, as a list otherwise; a list of the old length
 * would be refused.
 */
const layerMembers: NonNullable<Family['layerMembers']> = ({ layers, windows }) => {
  const firstWindowed = windows.findIndex((window) => window !== null);
  const full = firstWindowed < 0 ? windows.length : firstWindowed;
  const inOrder = windows.slice(full).every((window) => window !== null);
  const types = windows.map((window) => (window === null ? 'full_attention' : 'sliding_attention'));
  return { num_hidden_layers: layers, max_window_layers: full, layer_types: inOrder ? undefined : types };
};

/** Qwen2 and Qwen2.5: Llama with biases on query, key and value. */
export const qwen2: Family = {
  modelType: 'qwen2',
  headClasses: ['Qwen2ForCausalLM'],
  layerMembers,
  readConfig: (hf) =>
    normalizeConfig(hf, NUMBERS, {
      rope: { theta: 10000 },
      biases: { queryKeyValue: true, attentionOutput: false, feedForward: false },
      window: windowOf(hf),
    }),
  describe: (config) => describeLayout(config, llamaLayout),
};

/** What Qwen3 has instead: norms of queries and keys, and biases only where the config says so. */
function qwen3Facts(hf: HfConfig): ArchitectureFacts {
  const bias = hf.attention_bias ?? false;
  return {
    rope: { theta: 10000 },
    queryKeyNorm: (norm) => ({ over: 'head', norm }),
    biases: { queryKeyValue: bias, attentionOutput: bias, feedForward: false },
  };
}

/** Qwen3. */
export const qwen3: Family = {
  modelType: 'qwen3',
  headClasses: ['Qwen3ForCausalLM'],
  layerMembers,
  readConfig: (hf) => normalizeConfig(hf, { ...NUMBERS, head_dim: 128 }, { ...qwen3Facts(hf), window: windowOf(hf) }),
  describe: (config) => describeLayout(config, llamaLayout),
};

const moeLayout: Layout = {
  ...llamaLayout,
  experts: {
    router: 'mlp.gate',
    experts: 'mlp.experts',
    gate: 'gate_proj',
    up: 'up_proj',
    down: 'down_proj',
    packed: [{ gateUp: 'mlp.experts.gate_up_proj', down: 'mlp.experts.down_proj' }],
  },
};

/** Qwen3 with experts, in all blocks but those that the config leaves dense. */
export const qwen3Moe: Family = {
  modelType: 'qwen3_moe',
  headClasses: ['Qwen3MoeForCausalLM'],
  layerMembers: ({ layers, experts }) => ({
    num_hidden_layers: layers,
    layer_types: undefined,
    decoder_sparse_step: 1,
    mlp_only_layers: experts!.layers.flatMap((has, layer) => (has ? [] : [layer])),
  }),
  readConfig: (hf) => {
    const { mlp_only_layers: dense, decoder_sparse_step: step } = hf;
    const window = hf.use_sliding_window ? (hf.sliding_window === undefined ? 4096 : hf.sliding_window) : null;
    return normalizeConfig(
      hf,
      {
        ...NUMBERS,
        hidden_size: 2048,
        intermediate_size: 6144,
        num_hidden_layers: 24,
        num_key_value_heads: 4,
      },
      {
        ...qwen3Facts(hf),
        window: () => window,
        experts: (layers) => ({
          count: hf.num_experts ?? hf.num_local_experts ?? 128,
          perToken: hf.num_experts_per_tok ?? 8,
          intermediateSize: hf.moe_intermediate_size ?? 768,
          normalizeWeights: hf.norm_topk_prob ?? false,
          ...PLAIN_ROUTING,
          layers: Array.from(
            { length: layers },
            (_, layer) => !dense?.includes(layer) && (layer + 1) % (step ?? 1) === 0,
          ),
        }),
      },
    );
  },
  describe: (config) => describeLayout(config, moeLayout),
};
