// `kv_cache_scheme`: how a runtime codes the keys and values that it keeps of earlier tokens. Static scales, which calibration
// has found, stored beside the attention of a layer as `k_scale` and `v_scale`: [1], or [heads, 1, 1] with one for each head
// (`attn_head`).
//
// Keys are coded after the rotary embedding, as they lie in the cache. The first versions of the library stored the scales as
// `k_proj.output_scale` and `v_proj.output_scale`; these are read too.
//
// Source: compressed-tensors 0.19, `modeling/kvcache.py` and `quantization/lifecycle/initialize.py`; vLLM reads symmetric fp8.
import type { JsonObject } from '../json/parse-json.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { isConvertible } from '../safetensors/stored-dtype.ts';
import { strategyOf, unsupportedScheme, type QuantizationArgs } from './config-schema.ts';

/** How kept keys and values are coded. */
export interface KvCacheScheme {
  /** What they are rounded to. */
  readonly dtype: 'f8_e4m3' | 'i8';
  /** One scale for each layer and kind, or one for each of its key-value heads. */
  readonly granularity: 'tensor' | 'head';
  /** How the ranges were found, for the record. */
  readonly observer?: string;
}

/** What a checkpoint says of the keys and values that a runtime keeps. */
export interface KeyValueCache extends KvCacheScheme {
  /** Names of the stored scales, `model.layers.0.self_attn.k_scale`; they are no weights of the model. */
  readonly scales: readonly string[];
}

/** Stored suffixes of the scales, beside the module of the attention. */
export const KV_SCALE_NAMES = Object.freeze({
  /** Of the keys. */
  key: 'k_scale',
  /** Of the values. */
  value: 'v_scale',
});

/**
 * Reads a scheme.
 *
 * @throws PithError `CT_SCHEME_UNSUPPORTED`
 */
export function readKvCacheScheme(args: QuantizationArgs, file: string): KvCacheScheme {
  const refuse = (what: string) => unsupportedScheme(what, 'kv_cache_scheme', file);
  const { num_bits: bits, type, symmetric, dynamic, observer } = args;
  const strategy = strategyOf(args);
  if (bits !== 8) throw refuse(`${bits}-bit ${type} codes`);
  if (!symmetric) throw refuse('zero points');
  if (dynamic !== undefined && dynamic !== null && dynamic !== false) throw refuse('scales that are found at run time');
  if (strategy !== 'tensor' && strategy !== 'attn_head') throw refuse(`scales per ${strategy.slice(0, 40)}`);
  return {
    dtype: type === 'float' ? 'f8_e4m3' : 'i8',
    granularity: strategy === 'tensor' ? 'tensor' : 'head',
    ...(observer && { observer }),
  };
}

/** The same as the first versions stored them, beside the module of the attention. */
export const OLD_KV_SCALE_NAMES = Object.freeze({
  /** Of the keys. */
  key: 'k_proj.output_scale',
  /** Of the values. */
  value: 'v_proj.output_scale',
});

/**
 * Names of the tensors that are scales of keys or values: a single value, or one for each head. Others of such a name are left to
 * those who look for weights.
 */
export function keyValueScales(
  tensors: ReadonlyMap<string, StoredTensor>,
  { granularity }: Pick<KvCacheScheme, 'granularity'>,
): string[] {
  const suffixes = [...Object.values(KV_SCALE_NAMES), ...Object.values(OLD_KV_SCALE_NAMES)].map((name) => `.${name}`);
  const behind = granularity === 'head' ? 1 : 0;
  return [...tensors.values()].flatMap(({ name, shape, dtype }) => {
    const fits = shape.slice(behind).every((length) => length === 1) && isConvertible(dtype);
    return fits && suffixes.some((suffix) => name.endsWith(suffix)) ? [name] : [];
  });
}

type WrittenScheme = Omit<KvCacheScheme, 'observer'> & { readonly observer?: string | null };

/** The member of `quantization_config`, in the order of the reference library's files. */
export function kvCacheArguments({ dtype, granularity, observer = null }: WrittenScheme): JsonObject {
  return {
    actorder: null,
    block_structure: null,
    dynamic: false,
    group_size: null,
    num_bits: 8,
    observer,
    observer_kwargs: {},
    scale_dtype: null,
    strategy: granularity === 'head' ? 'attn_head' : 'tensor',
    symmetric: true,
    type: dtype === 'i8' ? 'int' : 'float',
    zp_dtype: null,
  };
}
