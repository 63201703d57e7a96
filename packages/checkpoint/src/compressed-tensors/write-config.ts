// The `quantization_config` that transformers and vLLM read.
//
// transformers decides by `targets` and `ignore` which modules are quantized: "Linear" is every linear layer, so each
// one that stays dense must be named in `ignore`, the output projection included. Keys are in the order of the
// reference library's files.
//
// Source: golden checkpoints written by compressed-tensors 0.19 with llm-compressor 0.14.
import { PithError, type QuantizationScheme } from '@pith/tensor-core';
import type { JsonObject, JsonValue } from '../json/parse-json.ts';
import { kvCacheArguments, type KvCacheScheme } from './kv-cache-scheme.ts';
import type { ActivationForm } from './read-activations.ts';
import type { CompressedFormat } from './read-group.ts';
import { compressedFormat } from './stored-pieces.ts';
import type { SparseFormat } from './sparse-pieces.ts';

/** The version of compressed-tensors whose layouts are written (packed codes cross word borders since 0.18). */
export const COMPRESSED_TENSORS_VERSION = '0.19.0';

/** A version of compressed-tensors that reads and writes what later ones dropped: sparse weights, and columns in another order. */
export const SPARSE_VERSION = '0.14.0';

/** Weights that are coded alike. */
export interface ConfigGroup {
  /** How they are coded. */
  readonly scheme: QuantizationScheme;
  /**
   * How a runtime quantizes activations as well, to 8 bits; true: of the weights' kind, symmetric, per token at run time
   * (W8A8, FP8), which needs 8-bit weights.
   */
  readonly activations?: boolean | ActivationForm;
  /** True where columns were grouped in an order of their own, so that group indices are stored; false when left out. */
  readonly groupIndex?: boolean;
  /** `["Linear"]` for every linear layer that is not ignored (the default), or exact module paths. */
  readonly targets?: readonly string[];
  /** How the ranges were found, for the record: `memoryless_minmax` when left out. */
  readonly observer?: string;
}

/** What {@link quantizationConfig} is made of. */
export interface QuantizationConfigInput {
  /** One for each way of coding. */
  readonly groups: readonly ConfigGroup[];
  /** Paths of the linear modules that stay dense: `lm_head`. */
  readonly ignore: readonly string[];
  /** How a runtime codes the keys and values that it keeps; not at all when left out. */
  readonly kvCache?: KvCacheScheme;
}

/**
 * Builds the `quantization_config` of config.json.
 *
 * @throws PithError `CT_SCHEME_UNSUPPORTED`, `CT_CONFIG_INVALID` (no group, several groups with the same targets).
 */
export function quantizationConfig({ groups, ignore, kvCache }: QuantizationConfigInput): JsonObject {
  const targets = groups.map((group) => group.targets ?? ['Linear']);
  const all = targets.flat();
  if ((groups.length === 0 && !kvCache) || new Set(all).size !== all.length) {
    throw new PithError(
      'CT_CONFIG_INVALID',
      `write quantization_config: there must be groups, each with targets of its own, got ${JSON.stringify(targets)}`,
      { kind: 'internal', details: { targets } },
    );
  }
  const formats = groups.map((group) => compressedFormat(group.scheme, Boolean(group.activations)));
  const entries = groups.map((group, i): [string, JsonValue] => [
    `group_${i}`,
    {
      format: formats[i]!,
      input_activations: group.activations ? activationArguments(group.scheme, group.activations) : null,
      output_activations: null,
      targets: targets[i]!,
      weights: weightArguments(group),
    },
  ]);
  const different = new Set(formats).size;
  const format: CompressedFormat | 'mixed-precision' | 'dense' =
    different === 0 ? 'dense' : different === 1 ? formats[0]! : 'mixed-precision';
  const reordered = groups.some(({ groupIndex }) => groupIndex);
  return {
    config_groups: Object.fromEntries(entries),
    format,
    global_compression_ratio: null,
    // Without groups there is nothing to be left out of.
    ignore: groups.length === 0 ? [] : [...ignore],
    kv_cache_scheme: kvCache ? kvCacheArguments(kvCache) : null,
    quant_method: 'compressed-tensors',
    quantization_status: 'compressed',
    sparsity_config: {},
    transform_config: {},
    version: reordered ? SPARSE_VERSION : COMPRESSED_TENSORS_VERSION,
  };
}

/** Names of the dtypes of scales that are not those of the weights. */
const SCALE_NAMES = { f8_e8m0: 'torch.uint8', f8_e4m3: 'torch.float8_e4m3fn' } as const;

function scaleName(dtype: string): string | null {
  return dtype === 'f8_e8m0' || dtype === 'f8_e4m3' ? SCALE_NAMES[dtype] : null;
}

function weightArguments({ scheme, observer = 'memoryless_minmax', groupIndex = false }: ConfigGroup): JsonObject {
  const { granularity } = scheme;
  const symmetric = scheme.kind === 'float' || scheme.symmetric;
  const tensorGroup = scheme.scaleDType === 'f8_e4m3';
  return {
    actorder: groupIndex ? 'group' : null,
    block_structure: granularity.kind === 'block' ? [granularity.rows, granularity.columns] : null,
    dynamic: false,
    group_size: granularity.kind === 'group' ? granularity.size : null,
    num_bits: scheme.kind === 'int' ? scheme.bits : scheme.dtype === 'f4_e2m1' ? 4 : 8,
    observer,
    observer_kwargs: {},
    scale_dtype: scaleName(scheme.scaleDType),
    strategy: tensorGroup ? 'tensor_group' : granularity.kind,
    symmetric,
    type: scheme.kind,
    zp_dtype: symmetric ? null : 'torch.int8',
  };
}

function activationArguments(scheme: QuantizationScheme, given: NonNullable<ConfigGroup['activations']>): JsonObject {
  if (scheme.kind === 'int' && scheme.bits !== 8 && scheme.bits !== 4) {
    throw new PithError(
      'CT_SCHEME_UNSUPPORTED',
      `write quantization_config: quantized activations need weights of 8 or 4 bits, got ${scheme.bits}; leave them out`,
      { details: { bits: scheme.bits } },
    );
  }
  const dtype = scheme.kind === 'int' ? 'i8' : 'f8_e4m3';
  const form: ActivationForm = typeof given === 'boolean' ? { kind: 'token-dynamic', dtype, symmetric: true } : given;
  const grouped = form.kind === 'group-dynamic';
  const local = grouped && form.scaleDType === 'f8_e4m3';
  const strategies = { 'token-dynamic': 'token', 'tensor-static': 'tensor', 'group-dynamic': 'group' } as const;
  return {
    actorder: null,
    block_structure: null,
    // Scales of groups in the tensor's own range: only these are found at run time.
    dynamic: local ? 'local' : form.kind !== 'tensor-static',
    group_size: grouped ? form.size : null,
    num_bits: form.dtype === 'f4_e2m1' ? 4 : 8,
    observer: local || form.kind === 'tensor-static' ? 'static_minmax' : null,
    observer_kwargs: {},
    scale_dtype: grouped ? scaleName(form.scaleDType) : null,
    strategy: local ? 'tensor_group' : strategies[form.kind],
    symmetric: form.symmetric,
    type: form.dtype === 'i8' ? 'int' : 'float',
    zp_dtype: form.symmetric ? null : 'torch.int8',
  };
}

/** What {@link sparsityConfig} is made of. */
export interface SparsityConfigInput {
  /** Layout of all sparse weights. */
  readonly format: SparseFormat;
  /** Paths of the modules whose weights are stored sparse. */
  readonly targets: readonly string[];
  /** Share of zeros over all weights of the model, for the record. */
  readonly globalSparsity: number;
}

/**
 * Builds the `sparsity_config` inside of `quantization_config`: what is stored sparse and not quantized. Keys and their order
 * are those of compressed-tensors 0.14.
 */
export function sparsityConfig({ format, targets, globalSparsity }: SparsityConfigInput): JsonObject {
  return {
    format,
    global_sparsity: globalSparsity,
    ignore: [],
    registry_requires_subclass: false,
    sparsity_structure: format === 'sparse-24-bitmask' ? '2:4' : 'unstructured',
    targets: [...targets],
  };
}

/** The `quantization_config` of a checkpoint that is sparse and not quantized. */
export function sparseOnlyConfig(sparsity: JsonObject): JsonObject {
  return {
    quant_method: 'compressed-tensors',
    sparsity_config: sparsity,
    version: SPARSE_VERSION,
  };
}
