// config.json and generation_config.json out of the metadata of a GGUF file.
import { printJson, type GgufTensor, type JsonObject, type JsonValue } from '@pith/checkpoint';
import { PithError } from '@pith/tensor-core';
import { CONFIG_CAPS } from '../config/hf-config.ts';
import { CONFIG_FAMILIES, type CommonMember, type ConfigFamily, type FileFacts } from './config-families.ts';
import type { GgufFamily } from './gguf-family.ts';
import { shortest, type MetadataReader } from './metadata-reader.ts';
import { ropeConfig } from './rope-config.ts';

/** What {@link ggufConfig} reads. */
export interface GgufConfigFacts {
  readonly family: GgufFamily;
  readonly metadata: MetadataReader;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Biases that hold zeros alone because llama.cpp wants them, see `zero-biases.ts`. */
  readonly zeroBiases: ReadonlySet<string>;
  /** Label of the file in errors. */
  readonly file: string;
}

/**
 * The object of config.json of a file.
 *
 * @throws PithError `GGUF_KEY_MISSING`, `GGUF_VALUE_INVALID`, `GGUF_LIMIT_EXCEEDED`, `GGUF_SHAPE_INVALID`,
 * `GGUF_ARCHITECTURE_UNSUPPORTED`.
 */
export async function ggufConfig({
  family,
  metadata,
  tensors,
  zeroBiases,
  file,
}: GgufConfigFacts): Promise<JsonObject> {
  const own = CONFIG_FAMILIES[family.modelType]!;
  const key = (name: string): string => `${family.architecture}.${name}`;
  const count = (name: string): number => metadata.require(key(name), metadata.layerCount(key(name)));
  const capped = (name: string, value: number, cap: number): number => {
    if (value <= cap) return value;
    throw new PithError(
      'GGUF_LIMIT_EXCEEDED',
      `open GGUF: ${file}: ${key(name)} may be at most ${cap}, it claims ${value}; the file is damaged`,
      { details: { file, key: key(name), limit: cap, got: value } },
    );
  };
  const hidden = count('embedding_length');
  const heads = capped('attention.head_count', count('attention.head_count'), CONFIG_CAPS.heads);
  const layers = capped('block_count', count('block_count'), CONFIG_CAPS.layers);
  const headDim = metadata.count(key('attention.key_length')) ?? Math.floor(hidden / Math.max(1, heads));
  const facts: FileFacts = {
    metadata,
    key,
    has: (name) => tensors.has(name) && !zeroBiases.has(name),
    rows: (name) => tensors.get(name)?.shape[0] ?? 0,
    hidden,
    heads,
    headDim,
    layers,
  };
  refuseUnsupported(own, facts, family, file);
  const maxPositions = count('context_length');
  const rotaryDim = metadata.count(key('rope.dimension_count')) ?? headDim;
  const originalOutside = family.modelType === 'phi3';
  const rope = await ropeConfig({ metadata, key, tensors, file, rotaryDim, maxPositions, originalOutside });
  const embedding = tensors.get('token_embd.weight')?.shape[0];
  const epsilon = key(`attention.layer_norm_${own.norm === 'rms' ? 'rms_' : ''}epsilon`);
  const common: Record<CommonMember, JsonValue> = {
    hidden_size: hidden,
    intermediate_size: count('feed_forward_length'),
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: metadata.layerCount(key('attention.head_count_kv')) ?? heads,
    head_dim: headDim,
    max_position_embeddings: maxPositions,
    norm_epsilon: shortest(metadata.require(epsilon, metadata.number(epsilon))),
    hidden_act: own.activation,
    rope_theta: rope.theta,
    rope_scaling: rope.scaling,
    partial_rotary_factor: rotaryShare(rotaryDim, headDim),
  };
  const config: Record<string, JsonValue> = {
    architectures: [family.headClass],
    model_type: family.modelType,
    ...renamed(common, own),
    vocab_size: embedding ?? metadata.count(key('vocab_size')) ?? metadata.texts('tokenizer.ggml.tokens')?.length ?? 0,
    tie_word_embeddings: !tensors.has('output.weight'),
    ...own.own?.(facts),
    ...tokenIds(metadata),
    // Without it some classes take an id that a small vocabulary does not have.
    pad_token_id: metadata.count('tokenizer.ggml.padding_token_id') ?? null,
    torch_dtype: 'float32',
  };
  return config;
}

/** Members that configuration classes want as floating-point numbers: a whole one is written with a point. */
const FLOATING = [
  'rope_theta',
  'rope_local_base_freq',
  'partial_rotary_factor',
  'factor',
  'low_freq_factor',
  'high_freq_factor',
  'attention_factor',
  'attn_logit_softcapping',
  'final_logit_softcapping',
  'attention_multiplier',
  'embedding_multiplier',
  'residual_multiplier',
  'logits_scaling',
  'logit_scale',
];
const WHOLE = new RegExp(`^( *"(?:${FLOATING.join('|')})": -?\\d+)(?=,?$)`, 'gm');

/** The text of config.json. */
export function configText(config: JsonObject): string {
  return `${printJson(config)}\n`.replace(WHOLE, '$1.0');
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

/** Members by the names of the class. */
function renamed(common: Readonly<Record<CommonMember, JsonValue>>, { names = {} }: ConfigFamily) {
  const usual: typeof names = { norm_epsilon: 'rms_norm_eps', partial_rotary_factor: null, ...names };
  const members: Record<string, JsonValue> = {};
  for (const [member, value] of Object.entries(common) as [CommonMember, JsonValue][]) {
    const name = usual[member] === undefined ? member : usual[member];
    if (name !== null) members[name] = value;
  }
  return members;
}

/** The share of a head that gives so many values when it is cut to a whole number, as classes do. */
function rotaryShare(rotaryDim: number, headDim: number): number {
  const share = rotaryDim / Math.max(1, headDim);
  return Math.trunc(headDim * share) === rotaryDim ? share : (rotaryDim + 0.5) / headDim;
}

function refuseUnsupported(own: ConfigFamily, facts: FileFacts, family: GgufFamily, file: string): void {
  const parts = own.unsupported?.(facts) ?? [];
  if (parts.length === 0) return;
  throw new PithError(
    'GGUF_ARCHITECTURE_UNSUPPORTED',
    `open GGUF: ${file}: this ${family.modelType} model has parts that are not supported yet: ${parts.join('; ')}; open the model that the file was made from`,
    { details: { file, architecture: family.architecture, unsupported: [...parts] } },
  );
}
