// config.json and generation_config.json out of the metadata of a GGUF file.
import { restoreBlocks, type GgufTensor, type JsonObject, type JsonValue } from '@pith/checkpoint';
import type { GgufFamily } from './gguf-family.ts';
import { shortest, type MetadataReader } from './metadata-reader.ts';
import { rotaryFactors } from './rotary-factors.ts';

/** What {@link ggufConfig} reads. */
export interface GgufConfigFacts {
  readonly family: GgufFamily;
  readonly metadata: MetadataReader;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** What the rest of the reader needs of a config. */
export interface GgufConfig {
  /** The object of config.json. */
  readonly config: JsonObject;
  /** Blocks. */
  readonly layers: number;
  /** Length of a head. */
  readonly headDim: number;
}

/**
 * The config of a file.
 *
 * @throws PithError `GGUF_KEY_MISSING`, `GGUF_VALUE_INVALID`.
 */
export async function ggufConfig({ family, metadata, tensors }: GgufConfigFacts): Promise<GgufConfig> {
  const key = (name: string): string => `${family.architecture}.${name}`;
  const count = (name: string): number => metadata.require(key(name), metadata.layerCount(key(name)));
  const hidden = count('embedding_length');
  const heads = count('attention.head_count');
  const layers = count('block_count');
  const headDim =
    metadata.count(key('attention.key_length')) ??
    metadata.count(key('rope.dimension_count')) ??
    Math.floor(hidden / Math.max(1, heads));
  const rotary = await ropeConfig(metadata, key, tensors, headDim);
  const tokens = metadata.texts('tokenizer.ggml.tokens');
  const embedding = tensors.get('token_embd.weight')?.shape[0];
  const config: Record<string, JsonValue> = {
    architectures: [family.headClass],
    model_type: family.modelType,
    hidden_size: hidden,
    intermediate_size: count('feed_forward_length'),
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: metadata.layerCount(key('attention.head_count_kv')) ?? heads,
    head_dim: headDim,
    max_position_embeddings: count('context_length'),
    rms_norm_eps: shortest(
      metadata.require(
        key('attention.layer_norm_rms_epsilon'),
        metadata.number(key('attention.layer_norm_rms_epsilon')),
      ),
    ),
    hidden_act: 'silu',
    vocab_size: embedding ?? metadata.count(key('vocab_size')) ?? tokens?.length ?? 0,
    tie_word_embeddings: !tensors.has('output.weight'),
    ...rotary,
    ...biases(family, tensors),
    ...tokenIds(metadata),
    torch_dtype: 'float32',
  };
  return { config, layers, headDim };
}

/** generation_config.json: what opens and what ends a text. */
export function ggufGenerationConfig(metadata: MetadataReader): JsonObject {
  return tokenIds(metadata);
}

function tokenIds(metadata: MetadataReader): Record<string, JsonValue> {
  const id = (name: string): number | undefined => metadata.count(`tokenizer.ggml.${name}_token_id`);
  // The end of a turn ends a text as well.
  const ends = [...new Set([id('eos'), id('eot')].filter((one) => one !== undefined))];
  const bos = id('bos');
  return {
    bos_token_id: bos ?? null,
    eos_token_id: ends.length === 0 ? null : ends.length === 1 ? ends[0]! : ends,
  };
}

function biases({ modelType }: GgufFamily, tensors: ReadonlyMap<string, GgufTensor>): Record<string, JsonValue> {
  if (modelType !== 'llama') return {};
  return {
    attention_bias: tensors.has('blk.0.attn_q.bias'),
    mlp_bias: tensors.has('blk.0.ffn_gate.bias'),
  };
}

/** Frequencies: the base, and how they are stretched. */
async function ropeConfig(
  metadata: MetadataReader,
  key: (name: string) => string,
  tensors: ReadonlyMap<string, GgufTensor>,
  headDim: number,
): Promise<Record<string, JsonValue>> {
  const theta = shortest(metadata.number(key('rope.freq_base')) ?? 10_000);
  const kind = metadata.text(key('rope.scaling.type')) ?? 'none';
  // The key of files of 2023.
  const factor = metadata.number(key('rope.scaling.factor')) ?? metadata.number(key('rope.scale_linear'));
  const factors = tensors.get('rope_freqs.weight');
  if (factors !== undefined) {
    const values = restoreBlocks(factors.type, await factors.source.read(0, factors.byteLength));
    return { rope_theta: theta, rope_scaling: factorScaling(values, theta, headDim) };
  }
  if (kind === 'linear' || (kind === 'none' && factor !== undefined && factor !== 1)) {
    return { rope_theta: theta, rope_scaling: { rope_type: 'linear', factor: shortest(factor ?? 1) } };
  }
  if (kind === 'none') return { rope_theta: theta, rope_scaling: null };
  // Refused by name when the config is read, unless the architecture knows it.
  const original = metadata.count(key('rope.scaling.original_context_length'));
  return {
    rope_theta: theta,
    rope_scaling: {
      rope_type: kind,
      ...(factor !== undefined && { factor: shortest(factor) }),
      ...(original !== undefined && { original_max_position_embeddings: original }),
    },
  };
}

/** Positions that Llama 3.1 and 3.2 were first trained on, and bounds of their frequencies. */
const LLAMA3 = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
/** Factors are stored in f32. */
const FACTOR_TOLERANCE = 1e-5;

/** The scaling that gives these divisors of the frequencies: Llama 3.1's where it fits, the divisors themselves otherwise. */
function factorScaling(values: Float32Array, theta: number, headDim: number): JsonObject {
  const factor = values.reduce((a, b) => Math.max(a, b), 1);
  const llama3 = { rope_type: 'llama3', factor, ...LLAMA3 };
  const expected = rotaryFactors({
    rope: {
      dim: headDim,
      interleaved: false,
      theta,
      scaling: {
        kind: 'llama3',
        factor,
        lowFrequencyFactor: LLAMA3.low_freq_factor,
        highFrequencyFactor: LLAMA3.high_freq_factor,
        originalMaxPositions: LLAMA3.original_max_position_embeddings,
      },
    },
  });
  const fits = expected?.every((value, i) => Math.abs(value - (values[i] ?? 0)) <= FACTOR_TOLERANCE * value);
  if (fits === true && expected?.length === values.length) return llama3;
  const list = [...values].map(shortest);
  return {
    rope_type: 'longrope',
    short_factor: list,
    long_factor: list,
    attention_factor: 1,
    original_max_position_embeddings: LLAMA3.original_max_position_embeddings,
  };
}
