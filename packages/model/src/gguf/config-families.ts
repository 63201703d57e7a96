// What config.json of each architecture calls the facts of a GGUF file, and what a file leaves unsaid because llama.cpp has
// it in its code: activation functions, which blocks have a window, scales of attention. The way back of `gguf-metadata.ts`.
import type { JsonValue } from '@pith/checkpoint';
import { shortest, type MetadataReader } from './metadata-reader.ts';

/** Facts that most configs have, by the names of Llama; `norm_epsilon` is `rms_norm_eps` there. */
export type CommonMember =
  | 'hidden_size'
  | 'intermediate_size'
  | 'num_hidden_layers'
  | 'num_attention_heads'
  | 'num_key_value_heads'
  | 'head_dim'
  | 'max_position_embeddings'
  | 'norm_epsilon'
  | 'hidden_act'
  | 'rope_theta'
  | 'rope_scaling'
  | 'partial_rotary_factor';

/** What a file says, as far as members of single architectures need it. */
export interface FileFacts {
  /** All metadata. */
  readonly metadata: MetadataReader;
  /** `<architecture>.<name>`. */
  readonly key: (name: string) => string;
  /** Whether there is a tensor of this name; one that llama.cpp wants and that holds zeros alone does not count. */
  readonly has: (tensor: string) => boolean;
  /** First axis of a tensor; 0 where it is missing. */
  readonly rows: (tensor: string) => number;
  /** Width of the hidden states. */
  readonly hidden: number;
  /** Query heads. */
  readonly heads: number;
  /** Length of a head. */
  readonly headDim: number;
  /** Blocks. */
  readonly layers: number;
}

/** How the config of one `model_type` is made. */
export interface ConfigFamily {
  /** Which epsilon the file has. */
  readonly norm: 'rms' | 'layer';
  /** What llama.cpp computes; no file says it. */
  readonly activation: string;
  /** Names that differ from those of {@link CommonMember}; null for a member that the class does not have. */
  readonly names?: Partial<Readonly<Record<CommonMember, string | null>>>;
  /** Further members. */
  readonly own?: (facts: FileFacts) => Readonly<Record<string, JsonValue>>;
  /** Of several families of one architecture: whether a file is of this one. The family without it takes the rest. */
  readonly when?: (metadata: MetadataReader, key: (name: string) => string) => boolean;
  /** What a file may ask for that the architecture here does not do, in words. */
  readonly unsupported?: (facts: FileFacts) => readonly string[];
}

const number = ({ metadata, key }: FileFacts, name: string): number | undefined => {
  const value = metadata.number(key(name));
  return value === undefined ? undefined : shortest(value);
};
const required = (facts: FileFacts, name: string): number =>
  facts.metadata.require(facts.key(name), number(facts, name));
const count = ({ metadata, key }: FileFacts, name: string): number =>
  metadata.require(key(name), metadata.layerCount(key(name)));
/** Positions of a window; null for none. */
const windowOf = ({ metadata, key }: Pick<FileFacts, 'metadata' | 'key'>): number | null =>
  metadata.layerCount(key('attention.sliding_window')) || null;

const hasExperts: NonNullable<ConfigFamily['when']> = (metadata, key) => (metadata.count(key('expert_count')) ?? 0) > 0;

/** Which blocks have a window, where the file does not leave it to the usual pattern. */
function layerTypes({ metadata, key, layers }: FileFacts): Readonly<Record<string, JsonValue>> {
  const name = key('attention.sliding_window_pattern');
  const windowed = metadata.isList(name)
    ? metadata.flags(name)!
    : metadata.has(name)
      ? Array.from({ length: layers }, (_, layer) => (layer + 1) % Math.max(1, metadata.count(name)!) !== 0)
      : undefined;
  return windowed === undefined
    ? {}
    : { layer_types: windowed.map((one) => (one ? 'sliding_attention' : 'full_attention')) };
}

const attentionBias = ({ has }: FileFacts) => ({ attention_bias: has('blk.0.attn_q.bias') });
const llamaBiases = (facts: FileFacts) => ({
  ...attentionBias(facts),
  mlp_bias: facts.has('blk.0.ffn_gate.bias') || facts.has('blk.0.ffn_up.bias'),
});
/** The class computes the length of a head. */
const NO_HEAD_DIM = { head_dim: null } as const;
const LAYER_NORM = { norm_epsilon: 'layer_norm_eps' } as const;
const NO_ROPE = { rope_theta: null, rope_scaling: null, partial_rotary_factor: null } as const;

/** llama.cpp scales by the width over the heads in the largest Gemma 2 and 3, by the length of a head in the others. */
const queryScalar = ({ layers, hidden, heads, headDim }: FileFacts, largest: number): number =>
  layers === largest ? Math.floor(hidden / heads) : headDim;

const TANH = 'gelu_pytorch_tanh';

/** By `model_type`. */
export const CONFIG_FAMILIES: Readonly<Record<string, ConfigFamily>> = {
  llama: { norm: 'rms', activation: 'silu', own: llamaBiases },
  mistral: {
    norm: 'rms',
    activation: 'silu',
    own: (facts) => ({ sliding_window: windowOf(facts) }),
    when: (metadata, key) => windowOf({ metadata, key }) !== null && !hasExperts(metadata, key),
  },
  mixtral: {
    norm: 'rms',
    activation: 'silu',
    own: (facts) => ({
      num_local_experts: count(facts, 'expert_count'),
      num_experts_per_tok: count(facts, 'expert_used_count'),
      sliding_window: windowOf(facts),
    }),
    when: hasExperts,
  },
  qwen2: { norm: 'rms', activation: 'silu' },
  qwen3: { norm: 'rms', activation: 'silu', own: attentionBias },
  qwen3_moe: {
    norm: 'rms',
    activation: 'silu',
    own: (facts) => {
      const window = windowOf(facts);
      return {
        ...attentionBias(facts),
        num_experts: count(facts, 'expert_count'),
        num_experts_per_tok: count(facts, 'expert_used_count'),
        moe_intermediate_size: count(facts, 'expert_feed_forward_length'),
        norm_topk_prob: true,
        decoder_sparse_step: 1,
        mlp_only_layers: [],
        ...(window !== null && { use_sliding_window: true, sliding_window: window }),
      };
    },
  },
  gemma: {
    norm: 'rms',
    activation: TANH,
    own: (facts) => ({ hidden_activation: TANH, ...attentionBias(facts) }),
  },
  gemma2: {
    norm: 'rms',
    activation: TANH,
    own: (facts) => ({
      hidden_activation: TANH,
      ...attentionBias(facts),
      query_pre_attn_scalar: queryScalar(facts, 46),
      sliding_window: windowOf(facts) ?? 4096,
      ...layerTypes(facts),
      attn_logit_softcapping: number(facts, 'attn_logit_softcapping') ?? 50,
      final_logit_softcapping: number(facts, 'final_logit_softcapping') ?? 30,
    }),
  },
  gemma3_text: {
    norm: 'rms',
    activation: TANH,
    own: (facts) => ({
      hidden_activation: TANH,
      ...attentionBias(facts),
      query_pre_attn_scalar: queryScalar(facts, 62),
      sliding_window: windowOf(facts),
      sliding_window_pattern: 6,
      ...layerTypes(facts),
      rope_local_base_freq: number(facts, 'rope.freq_base_swa') ?? 10_000,
      attn_logit_softcapping: null,
      final_logit_softcapping: number(facts, 'final_logit_softcapping') ?? null,
    }),
  },
  phi: {
    norm: 'layer',
    activation: 'gelu_new',
    names: { ...LAYER_NORM, ...NO_HEAD_DIM, partial_rotary_factor: 'partial_rotary_factor' },
  },
  starcoder2: {
    norm: 'layer',
    activation: TANH,
    names: { ...NO_HEAD_DIM, norm_epsilon: 'norm_epsilon' },
    own: (facts) => ({ use_bias: facts.has('blk.0.attn_q.bias'), sliding_window: windowOf(facts) }),
  },
  olmo2: {
    norm: 'rms',
    activation: 'silu',
    own: attentionBias,
    // Its successor has the same name in llama.cpp.
    unsupported: (facts) => (windowOf(facts) === null ? [] : ['sliding windows (OLMo 3)']),
  },
  granite: {
    norm: 'rms',
    activation: 'silu',
    own: (facts) => ({
      ...llamaBiases(facts),
      attention_multiplier: number(facts, 'attention.scale') || 1 / Math.sqrt(facts.headDim),
      embedding_multiplier: number(facts, 'embedding_scale') || 1,
      residual_multiplier: number(facts, 'residual_scale') || 1,
      logits_scaling: required(facts, 'logit_scale'),
    }),
  },
  smollm3: {
    norm: 'rms',
    activation: 'silu',
    own: (facts) => ({ ...llamaBiases(facts), no_rope_layer_interval: 4, use_sliding_window: false }),
  },
  cohere: {
    norm: 'layer',
    activation: 'silu',
    names: LAYER_NORM,
    own: (facts) => ({
      ...attentionBias(facts),
      use_qk_norm: facts.has('blk.0.attn_q_norm.weight'),
      logit_scale: required(facts, 'logit_scale'),
    }),
  },
  stablelm: {
    norm: 'layer',
    activation: 'silu',
    names: { ...LAYER_NORM, ...NO_HEAD_DIM, partial_rotary_factor: 'partial_rotary_factor' },
    own: (facts) => ({
      use_qkv_bias: facts.has('blk.0.attn_q.bias'),
      qk_layernorm: facts.has('blk.0.attn_q_norm.weight'),
      // llama.cpp does not look at the key: without a norm of its own the feed-forward part stands beside attention.
      use_parallel_residual: !facts.has('blk.0.ffn_norm.weight'),
    }),
  },
  phi3: {
    norm: 'rms',
    activation: 'silu',
    names: { ...NO_HEAD_DIM, partial_rotary_factor: 'partial_rotary_factor' },
    own: (facts) => {
      const original = facts.metadata.count(facts.key('rope.scaling.original_context_length'));
      return {
        sliding_window: windowOf(facts),
        ...(original !== undefined && { original_max_position_embeddings: original }),
      };
    },
  },
  falcon: {
    norm: 'layer',
    activation: 'gelu',
    names: {
      ...NO_HEAD_DIM,
      intermediate_size: 'ffn_hidden_size',
      num_key_value_heads: 'num_kv_heads',
      norm_epsilon: 'layer_norm_epsilon',
      hidden_act: 'activation',
    },
    own: (facts) => {
      const twoNorms = facts.has('blk.0.attn_norm_2.weight');
      // One key for all queries is what the first models have; more came with the new layout.
      const first = !twoNorms && facts.metadata.layerCount(facts.key('attention.head_count_kv')) === 1;
      return {
        new_decoder_architecture: !first,
        multi_query: first,
        num_ln_in_parallel_attn: twoNorms ? 2 : first ? null : 1,
        parallel_attn: true,
        alibi: false,
        bias: false,
      };
    },
  },
  bert: {
    norm: 'layer',
    activation: 'gelu',
    names: { ...NO_HEAD_DIM, ...NO_ROPE, ...LAYER_NORM, num_key_value_heads: null },
    own: (facts) => ({ type_vocab_size: facts.rows('token_types.weight'), position_embedding_type: 'absolute' }),
  },
  gpt2: {
    norm: 'layer',
    activation: 'gelu_new',
    names: {
      ...NO_HEAD_DIM,
      ...NO_ROPE,
      hidden_size: 'n_embd',
      intermediate_size: 'n_inner',
      num_hidden_layers: 'n_layer',
      num_attention_heads: 'n_head',
      num_key_value_heads: null,
      max_position_embeddings: 'n_positions',
      norm_epsilon: 'layer_norm_epsilon',
      hidden_act: 'activation_function',
    },
  },
  gpt_neox: {
    norm: 'layer',
    activation: 'gelu',
    names: {
      ...NO_HEAD_DIM,
      ...LAYER_NORM,
      num_key_value_heads: null,
      rope_theta: 'rotary_emb_base',
      partial_rotary_factor: 'rotary_pct',
    },
    own: (facts) => ({
      attention_bias: facts.has('blk.0.attn_qkv.bias'),
      use_parallel_residual: facts.metadata.flag(facts.key('use_parallel_residual')) ?? true,
    }),
  },
  bloom: {
    norm: 'layer',
    // The class knows one.
    activation: 'gelu_new',
    names: {
      ...NO_HEAD_DIM,
      ...NO_ROPE,
      intermediate_size: null,
      num_hidden_layers: 'n_layer',
      num_attention_heads: 'n_head',
      num_key_value_heads: null,
      norm_epsilon: 'layer_norm_epsilon',
      hidden_act: null,
    },
  },
};
