// `kv_cache_scheme`: how a runtime codes the keys and values that it keeps of earlier tokens. One static scale for each layer,
// stored beside its attention as `k_scale` and `v_scale` [1], which calibration has found.
//
// Keys are coded after the rotary embedding, as they lie in the cache.
//
// Source: compressed-tensors 0.19, `modeling/kvcache.py`; vLLM reads symmetric fp8 with one scale per tensor.
import type { JsonObject } from '../json/parse-json.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { isConvertible } from '../safetensors/stored-dtype.ts';
import { strategyOf, unsupportedScheme, type QuantizationArgs } from './config-schema.ts';

/** How kept keys and values are coded, with one scale for each layer and kind. */
export interface KvCacheScheme {
  /** What they are rounded to. */
  readonly dtype: 'f8_e4m3' | 'i8';
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
  const { num_bits: bits, type, symmetric, dynamic } = args;
  const strategy = strategyOf(args);
  if (bits !== 8) throw refuse(`${bits}-bit ${type} codes`);
  if (!symmetric) throw refuse('zero points');
  if (dynamic !== undefined && dynamic !== null && dynamic !== false) throw refuse('scales that are found at run time');
  if (strategy !== 'tensor') throw refuse(`scales per ${strategy}`);
  return { dtype: type === 'float' ? 'f8_e4m3' : 'i8' };
}

/** Names of the tensors that are one scale of keys or values. Others of such a name are left to those who look for weights. */
export function keyValueScales(tensors: ReadonlyMap<string, StoredTensor>): string[] {
  const suffixes = Object.values(KV_SCALE_NAMES).map((name) => `.${name}`);
  return [...tensors.values()].flatMap(({ name, shape, dtype }) => {
    const one = shape.every((length) => length === 1) && isConvertible(dtype);
    return one && suffixes.some((suffix) => name.endsWith(suffix)) ? [name] : [];
  });
}

/** The member of `quantization_config`, in the order of the reference library's files. */
export function kvCacheArguments({ dtype }: KvCacheScheme): JsonObject {
  return {
    actorder: null,
    block_structure: null,
    dynamic: false,
    group_size: null,
    num_bits: 8,
    observer: null,
    observer_kwargs: {},
    scale_dtype: null,
    strategy: 'tensor',
    symmetric: true,
    type: dtype === 'i8' ? 'int' : 'float',
    zp_dtype: null,
  };
}
