// What a format of quantized checkpoints can do: the one contract between techniques, which make weights of codes and
// scales, and files, in which every runtime wants them elsewhere. Dense weights lie alike in all formats.
import type { QuantizedWeight, ScaleDType } from '@pith/tensor-core';
import type { KvCacheScheme } from '../compressed-tensors/kv-cache-scheme.ts';
import type { StoredChunk } from '../compressed-tensors/encode-block.ts';
import type { QuantizedShape, StoredPiece } from '../compressed-tensors/stored-pieces.ts';
import type { JsonValue } from '../json/parse-json.ts';
import type { OutputTensor } from '../safetensors/plan-output.ts';

/** Members of config.json in which the formats say how weights are coded; an output has those of its own format only. */
export const QUANTIZATION_KEYS: readonly string[] = Object.freeze([
  'quantization_config',
  'compression_config',
  'quantization',
]);

/** What is said of the quantized weights of a checkpoint as a whole. */
export interface FormatContext {
  /** True when runtimes are to quantize activations as well, also of weights that do not say so themselves. */
  readonly activations?: boolean;
  /** Paths of linear modules that stay dense: `lm_head`. */
  readonly ignore?: readonly string[];
  /** How ranges were found, for the record: `memoryless_minmax`. */
  readonly observer?: string;
  /** How a runtime codes the keys and values that it keeps, said by compressed-tensors alone; not at all when left out. */
  readonly kvCache?: KvCacheScheme;
}

/** A stored tensor and its bytes. */
export interface FormatTensor extends OutputTensor {
  /** Bytes in the file. */
  readonly byteLength: number;
}

/** What readers must be told of quantized weights. */
export interface FormatConfig {
  /** Members of config.json that are set; undefined removes one. */
  readonly members: Readonly<Record<string, JsonValue | undefined>>;
  /** Texts of further files by name. */
  readonly files: Readonly<Record<string, string>>;
}

/** A quantized weight as a plan knows it: a `QuantizedWeight` is one. */
export type StoredShape = QuantizedShape;

/** A way in which quantized weights are stored. */
export interface WeightFormat {
  /** Its name, as options and receipts have it: `compressed-tensors`, `gptq`. */
  readonly name: string;
  /** The dtype in which it stores scales; absent: that of the scheme. */
  readonly scaleDType?: ScaleDType;
  /**
   * The stored tensors of a weight, from its shape and scheme alone.
   *
   * @throws PithError that names the weight and what of it the format cannot hold.
   */
  tensors(weight: StoredShape, context: FormatContext): readonly FormatTensor[];
  /**
   * The pieces that the kernels of rounding to nearest write by themselves, rows in order, from file to file; undefined
   * where {@link chunks} must arrange them.
   */
  kernelPieces?(weight: StoredShape, context: FormatContext): readonly StoredPiece[] | undefined;
  /**
   * The bytes of those tensors; those of one tensor come in order and without gaps.
   *
   * @throws PithError as {@link tensors}, and where a value does not fit.
   */
  chunks(weight: QuantizedWeight, context: FormatContext): AsyncIterable<StoredChunk>;
  /**
   * What config.json and further files say of all quantized weights, factors included; there is at least one, or a scheme of
   * keys and values.
   *
   * @throws PithError that names the weights which one configuration cannot describe together.
   */
  config(weights: readonly StoredShape[], context: FormatContext): FormatConfig;
}
