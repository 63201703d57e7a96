// The `quantization_config` that transformers and vLLM read.
//
// transformers decides by `targets` and `ignore` which modules are quantized: "Linear" is every linear layer, so each
// one that stays dense must be named in `ignore`, the output projection included. Keys are in the order of the
// reference library's files.
//
// Source: golden checkpoints written by compressed-tensors 0.19 with llm-compressor 0.14.
import { PithError, type ActivationQuantization, type QuantizationScheme } from '@pith/tensor-core';
import type { JsonObject, JsonValue } from '../json/parse-json.ts';
import type { CompressedFormat } from './quantization-config.ts';
import { compressedFormat } from './stored-pieces.ts';
import type { SparseFormat } from './sparse-pieces.ts';

/** The version of compressed-tensors whose layouts are written (packed codes cross word borders since 0.18). */
export const COMPRESSED_TENSORS_VERSION = '0.19.0';

/** The last version of compressed-tensors that reads and writes sparse weights, whose layouts are written. */
export const SPARSE_VERSION = '0.14.0';

/** Weights that are coded alike. */
export interface ConfigGroup {
  /** How they are coded. */
  readonly scheme: QuantizationScheme;
  /**
   * How a runtime quantizes activations as well, to 8 bits; true: of the weights' kind, symmetric, per token at run time
   * (W8A8, FP8), which needs 8-bit weights.
   */
  readonly activations?: boolean | Pick<ActivationQuantization, 'kind' | 'dtype' | 'symmetric'>;
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
}

/**
 * Builds the `quantization_config` of config.json.
 *
 * @throws PithError `CT_SCHEME_UNSUPPORTED`, `CT_CONFIG_INVALID` (no group, several groups with the same targets).
 */
export function quantizationConfig({ groups, ignore }: QuantizationConfigInput): JsonObject {
  const targets = groups.map((group) => group.targets ?? ['Linear']);
  const all = targets.flat();
  if (groups.length === 0 || new Set(all).size !== all.length) {
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
  const format: CompressedFormat | 'mixed-precision' = new Set(formats).size === 1 ? formats[0]! : 'mixed-precision';
  return {
    config_groups: Object.fromEntries(entries),
    format,
    global_compression_ratio: null,
    ignore: [...ignore],
    kv_cache_scheme: null,
    quant_method: 'compressed-tensors',
    quantization_status: 'compressed',
    sparsity_config: {},
    transform_config: {},
    version: COMPRESSED_TENSORS_VERSION,
  };
}

function weightArguments({ scheme, observer = 'memoryless_minmax' }: ConfigGroup): JsonObject {
  const { granularity } = scheme;
  const symmetric = scheme.kind === 'float' || scheme.symmetric;
  return {
    actorder: null,
    block_structure: null,
    dynamic: false,
    group_size: granularity.kind === 'group' ? granularity.size : null,
    num_bits: scheme.kind === 'float' ? 8 : scheme.bits,
    observer,
    observer_kwargs: {},
    scale_dtype: null,
    strategy: granularity.kind,
    symmetric,
    type: scheme.kind,
    zp_dtype: symmetric ? null : 'torch.int8',
  };
}

function activationArguments(
  scheme: QuantizationScheme,
  activations: NonNullable<ConfigGroup['activations']>,
): JsonObject {
  const dynamic = typeof activations === 'boolean' || activations.kind === 'token-dynamic';
  const symmetric = typeof activations === 'boolean' || activations.symmetric;
  if (scheme.kind === 'int' && scheme.bits !== 8) {
    throw new PithError(
      'CT_SCHEME_UNSUPPORTED',
      `write quantization_config: quantized activations need weights of 8 bits, got ${scheme.bits}; leave them out`,
      { details: { bits: scheme.bits } },
    );
  }
  return {
    actorder: null,
    block_structure: null,
    dynamic,
    group_size: null,
    num_bits: 8,
    observer: dynamic ? null : 'static_minmax',
    observer_kwargs: {},
    scale_dtype: null,
    strategy: dynamic ? 'token' : 'tensor',
    symmetric,
    type: scheme.kind,
    zp_dtype: symmetric ? null : 'torch.int8',
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
