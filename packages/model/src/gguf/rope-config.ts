// The rotary embedding of a GGUF file as config.json says it: base, and how frequencies are stretched.
import { restoreBlocks, type GgufTensor, type JsonObject, type JsonValue } from '@pith/checkpoint';
import { PithError } from '@pith/tensor-core';
import { shortest, type MetadataReader } from './metadata-reader.ts';
import { rotaryFactors } from './rotary-factors.ts';

/** What {@link ropeConfig} reads. */
export interface RopeSource {
  readonly metadata: MetadataReader;
  /** `<architecture>.<name>`. */
  readonly key: (name: string) => string;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Label of the file in errors. */
  readonly file: string;
  /** Values of a head that are rotated. */
  readonly rotaryDim: number;
  /** Positions that the model was made for. */
  readonly maxPositions: number;
  /** True where the positions that it was first trained on are no part of `rope_scaling`. */
  readonly originalOutside: boolean;
}

/** The members of config.json. */
export interface RopeMembers {
  /** Base of the frequencies. */
  readonly theta: number;
  /** `rope_scaling`; null for none. */
  readonly scaling: JsonObject | null;
}

/** Most factors that are read, that of a config.json. */
const MAX_FACTORS = 4096;

/**
 * Base and scaling.
 *
 * @throws PithError `GGUF_VALUE_INVALID`, `GGUF_SHAPE_INVALID` (a tensor of factors that has another length).
 */
export async function ropeConfig(source: RopeSource): Promise<RopeMembers> {
  const { metadata, key } = source;
  const theta = shortest(metadata.number(key('rope.freq_base')) ?? 10_000);
  const kind = metadata.text(key('rope.scaling.type')) ?? 'none';
  // The key of files of 2023.
  const factor = metadata.number(key('rope.scaling.factor')) ?? metadata.number(key('rope.scale_linear'));
  const [short, long, single] = await Promise.all(
    ['rope_factors_short', 'rope_factors_long', 'rope_freqs'].map((name) => factorsOf(source, `${name}.weight`)),
  );
  if (short != null && long != null) return { theta, scaling: longRope(source, short, long) };
  if (single != null) return { theta, scaling: factorScaling(single, theta, source) };
  if (kind === 'linear' || (kind === 'none' && factor !== undefined && factor !== 1)) {
    return { theta, scaling: { rope_type: 'linear', factor: shortest(factor ?? 1) } };
  }
  if (kind === 'none') return { theta, scaling: null };
  // Refused by name when the config is read, unless the architecture knows it.
  const original = metadata.count(key('rope.scaling.original_context_length'));
  const scaling: Record<string, JsonValue> = { rope_type: kind };
  if (factor !== undefined) scaling['factor'] = shortest(factor);
  if (original !== undefined) scaling['original_max_position_embeddings'] = original;
  const sharpened = metadata.number(key('rope.scaling.attn_factor'));
  // llama.cpp multiplies by what YaRN says as well.
  if (sharpened !== undefined && factor !== undefined) {
    scaling['attention_factor'] = shortest(Math.fround(sharpened * (1 + 0.1 * Math.log(factor))));
  }
  return { theta, scaling };
}

/** Divisors of the frequencies, or null where the file has none. */
async function factorsOf({ tensors, file, rotaryDim }: RopeSource, name: string): Promise<Float32Array | null> {
  const tensor = tensors.get(name);
  if (tensor === undefined) return null;
  const pairs = Math.floor(rotaryDim / 2);
  const { shape } = tensor;
  if (shape.length !== 1 || shape[0] !== pairs || pairs > MAX_FACTORS) {
    throw new PithError(
      'GGUF_SHAPE_INVALID',
      `open GGUF: ${file}: ${name} must have one factor for each of ${pairs} pairs, at most ${MAX_FACTORS}, its shape is [${shape.join(', ')}]; the file is damaged`,
      { details: { file, tensor: name, shape, pairs } },
    );
  }
  return restoreBlocks(tensor.type, await tensor.source.read(0, tensor.byteLength));
}

const decimals = (values: Float32Array): number[] => [...values].map(shortest);

/**
 * LongRoPE. What sharpens attention is left out where it is what the class computes from the lengths, and so is all that old releases
 * of Phi-3's class refuse.
 */
function longRope(source: RopeSource, short: Float32Array, long: Float32Array): JsonObject {
  const { metadata, key, maxPositions, originalOutside } = source;
  const original = metadata.count(key('rope.scaling.original_context_length'));
  const given = metadata.number(key('rope.scaling.attn_factor')) ?? 1;
  const stretch = original === undefined ? 1 : maxPositions / original;
  const usual = stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original!));
  return {
    [originalOutside ? 'type' : 'rope_type']: 'longrope',
    short_factor: decimals(short),
    long_factor: decimals(long),
    ...(original !== undefined && !originalOutside && { original_max_position_embeddings: original }),
    ...(Math.abs(given - usual) > 1e-6 * usual && { attention_factor: shortest(given) }),
  };
}

/** Bounds of the frequencies of Llama 3.1 and later. */
const LLAMA3 = { low_freq_factor: 1, high_freq_factor: 4 };
/** Positions that a model was first trained on: 8192 in all published ones, a power of two elsewhere. */
const ORIGINAL_POSITIONS = [8192, ...Array.from({ length: 20 }, (_, i) => 2 ** (i + 4))];
/** Factors are stored in f32. */
const FACTOR_TOLERANCE = 1e-5;

/** The scaling that gives these divisors of the frequencies: Llama 3.1's where it fits, the divisors themselves otherwise. */
function factorScaling(values: Float32Array, theta: number, { rotaryDim }: RopeSource): JsonObject {
  const factor = shortest(values.reduce((a, b) => Math.max(a, b), 1));
  for (const original of ORIGINAL_POSITIONS) {
    const expected = rotaryFactors({
      rope: {
        dim: rotaryDim,
        interleaved: false,
        theta,
        scaling: {
          kind: 'llama3',
          factor,
          lowFrequencyFactor: LLAMA3.low_freq_factor,
          highFrequencyFactor: LLAMA3.high_freq_factor,
          originalMaxPositions: original,
        },
      },
    });
    if (expected!.every((value, i) => Math.abs(value - values[i]!) <= FACTOR_TOLERANCE * value)) {
      return { rope_type: 'llama3', factor, ...LLAMA3, original_max_position_embeddings: original };
    }
  }
  const list = decimals(values);
  return {
    rope_type: 'longrope',
    short_factor: list,
    long_factor: list,
    attention_factor: 1,
    original_max_position_embeddings: ORIGINAL_POSITIONS[0]!,
  };
}
