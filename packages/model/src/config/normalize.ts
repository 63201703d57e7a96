// From the checked fields of a config.json to a ModelConfig: defaults of the architecture filled in, the two styles
// (that of the hub and that of transformers 5) made one, relations between fields checked, all offenders reported at
// once.
import { PithError } from '@pith/tensor-core';
import type { HfConfig, HfRope } from './hf-config.ts';
import type { BiasConfig, ModelConfig, RopeScaling } from './model-config.ts';

/** What an architecture says where the file is silent, and the facts that are not in the file. */
export interface ConfigDefaults {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  /** As many as attention heads where left out. */
  readonly num_key_value_heads?: number;
  readonly max_position_embeddings: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
  readonly bos_token_id: number | null;
  readonly eos_token_id: number | null;
  readonly biases: BiasConfig;
  /** Sliding window of a block; null for none. */
  readonly window: (layer: number) => number | null;
}

const ACTIVATIONS = { silu: 'silu', swish: 'silu' } as const;
const LAYER_TYPES = ['full_attention', 'sliding_attention'];

function scaling(rope: HfRope, problems: string[]): RopeScaling {
  const kind = rope.rope_type ?? rope.type ?? 'default';
  const needs = (field: keyof HfRope): number => {
    const value = rope[field];
    if (typeof value === 'number') return value;
    problems.push(`rope scaling ${kind}: needs ${field}`);
    return 1;
  };
  switch (kind) {
    case 'default':
      return { kind: 'none' };
    case 'linear':
      return { kind: 'linear', factor: needs('factor') };
    case 'llama3': {
      const result = {
        kind: 'llama3' as const,
        factor: needs('factor'),
        lowFrequencyFactor: needs('low_freq_factor'),
        highFrequencyFactor: needs('high_freq_factor'),
        originalMaxPositions: needs('original_max_position_embeddings'),
      };
      if (result.lowFrequencyFactor >= result.highFrequencyFactor && problems.length === 0) {
        problems.push('rope scaling llama3: low_freq_factor must be below high_freq_factor');
      }
      return result;
    }
    default:
      problems.push(`rope scaling must be default, linear or llama3, got ${JSON.stringify(kind)}, not supported yet`);
      return { kind: 'none' };
  }
}

function tokenIds(value: HfConfig['eos_token_id'], otherwise: number | null): number[] {
  if (value === undefined) return otherwise === null ? [] : [otherwise];
  if (value === null) return [];
  return Array.isArray(value) ? value : [value];
}

/**
 * Fills in defaults, merges the styles, checks relations.
 *
 * @returns Frozen.
 * @throws PithError `CONFIG_INVALID` with every problem.
 */
export function normalizeConfig(hf: HfConfig, defaults: ConfigDefaults): ModelConfig {
  const problems: string[] = [];
  const hiddenSize = hf.hidden_size ?? defaults.hidden_size;
  const heads = hf.num_attention_heads ?? defaults.num_attention_heads;
  const layers = hf.num_hidden_layers ?? defaults.num_hidden_layers;
  const vocabularySize = hf.vocab_size ?? defaults.vocab_size;
  // null means "one for each head", a missing key the default of the architecture.
  const keyValueHeads =
    hf.num_key_value_heads ?? (hf.num_key_value_heads === null ? heads : (defaults.num_key_value_heads ?? heads));
  if (hf.head_dim == null && hiddenSize % heads !== 0) {
    problems.push(`hidden_size ${hiddenSize} must be a multiple of num_attention_heads ${heads}, or head_dim given`);
  }
  if (heads % keyValueHeads !== 0) {
    problems.push(`num_attention_heads ${heads} must be a multiple of num_key_value_heads ${keyValueHeads}`);
  }
  const headDim = hf.head_dim ?? Math.floor(hiddenSize / heads);
  if (headDim % 2 !== 0 || headDim === 0) problems.push(`head_dim must be even for rotary embedding, got ${headDim}`);
  const rope = hf.rope_parameters ?? hf.rope_scaling ?? {};
  const partial = rope.partial_rotary_factor ?? hf.partial_rotary_factor ?? 1;
  if (partial !== 1) problems.push(`partial_rotary_factor must be 1 for ${hf.model_type}, got ${partial}`);
  const act = hf.hidden_act ?? 'silu';
  if (!Object.hasOwn(ACTIVATIONS, act)) problems.push(`hidden_act must be silu, got ${JSON.stringify(act)}`);
  if (hf.layer_types) {
    const unknown = hf.layer_types.filter((type) => !LAYER_TYPES.includes(type));
    if (unknown.length > 0) problems.push(`layer_types may hold ${LAYER_TYPES.join(', ')}, got ${unknown[0]}`);
    if (hf.layer_types.length !== layers) {
      problems.push(`layer_types must have num_hidden_layers ${layers} entries, got ${hf.layer_types.length}`);
    }
  }
  const bos = tokenIds(hf.bos_token_id, defaults.bos_token_id);
  const eos = tokenIds(hf.eos_token_id, defaults.eos_token_id);
  const config: ModelConfig = {
    modelType: hf.model_type,
    vocabularySize,
    hiddenSize,
    intermediateSize: hf.intermediate_size ?? defaults.intermediate_size,
    layers,
    heads,
    keyValueHeads,
    headDim,
    maxPositions: hf.max_position_embeddings ?? defaults.max_position_embeddings,
    normEpsilon: hf.rms_norm_eps ?? defaults.rms_norm_eps,
    activation: 'silu',
    rope: Object.freeze({
      theta: rope.rope_theta ?? hf.rope_theta ?? defaults.rope_theta,
      scaling: Object.freeze(scaling(rope, problems)),
    }),
    windows: Object.freeze(Array.from({ length: layers }, (_, layer) => defaults.window(layer))),
    biases: Object.freeze(defaults.biases),
    tiedEmbeddings: hf.tie_word_embeddings ?? false,
    bosTokenId: bos[0] ?? null,
    eosTokenIds: Object.freeze(eos),
    storedDType: hf.dtype ?? hf.torch_dtype ?? null,
  };
  if (problems.length > 0) {
    throw new PithError('CONFIG_INVALID', `read config: ${problems.join('; ')}`, { details: { problems } });
  }
  return Object.freeze(config);
}
