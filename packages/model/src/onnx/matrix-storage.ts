// How an exported model stores a matrix, and whether the codes that a weight has already can stay as they are.
import type { ActivationQuantization, QuantizedWeight, WeightTensor } from '@pith/tensor-core';

/** Values in f32 or f16. */
export interface FloatStorage {
  /** Tells the union apart. */
  readonly kind: 'float';
  /** Format of the values. */
  readonly dtype: 'f32' | 'f16';
}

/** Codes of 4 or 8 bits with a scale for each block of a row: MatMulNBits of com.microsoft. */
export interface BlockStorage {
  /** Tells the union apart. */
  readonly kind: 'blocks';
  /** Bits of a code. */
  readonly bits: 4 | 8;
  /** Columns of a block: 16, 32, 64, 128 or 256; the last block of a row may be shorter. */
  readonly blockSize: number;
  /** Without zero points. */
  readonly symmetric: boolean;
  /** What scales are stored in, and what the product is computed in. */
  readonly scaleDType: 'f32' | 'f16';
}

/** Codes of 8 bits with a scale for each row: DequantizeLinear or MatMulInteger. */
export interface ChannelStorage {
  /** Tells the union apart. */
  readonly kind: 'channels';
  /** Without zero points. */
  readonly symmetric: boolean;
  /**
   * What happens to the inputs: nothing; 8-bit codes with one scale for all tokens of a run (`tensor-dynamic`) or for each token,
   * found while the model runs; or with a scale from calibration.
   */
  readonly activations: 'none' | 'tensor-dynamic' | ActivationQuantization;
}

/** How a matrix is stored. */
export type MatrixStorage = FloatStorage | BlockStorage | ChannelStorage;

/** What rounding to nearest is asked for. */
export interface OnnxRounding {
  /** 4 or 8. */
  readonly bits: 4 | 8;
  /** Columns that share a scale; null for all of a row. */
  readonly groupSize: number | null;
  /** Without zero points. */
  readonly symmetric: boolean;
  /** What scales are stored in. */
  readonly scaleDType: 'f32' | 'f16';
  /** Columns of the result: those of the weight, filled up with zeros to whole groups. */
  readonly columns: number;
}

/** Rounds a weight to nearest: the result is [rows, rounding.columns]. */
export type OnnxRound = (weight: WeightTensor, rounding: OnnxRounding) => Promise<QuantizedWeight>;

/** What matrices of a model are to be stored as. */
export interface StorageRequest {
  /** `f32`, `f16`: values. `int8`: rows of 8-bit codes. `q8`, `q4`: blocks of codes of 8 or 4 bits. */
  readonly weights: 'f32' | 'f16' | 'int8' | 'q8' | 'q4';
  /** What products are computed in. */
  readonly dtype: 'f32' | 'f16';
  /** Columns of a block of 4-bit codes. */
  readonly blockSize: number;
  /** Whether codes of 4 bits are rounded without zero points. */
  readonly symmetric: boolean;
  /** What happens to the inputs of layers with rows of 8-bit codes whose weight does not say. */
  readonly activations: 'none' | 'tensor-dynamic' | 'token-dynamic';
}

/** A storage, and what is done to get there. */
export interface ChosenStorage {
  /** How the matrix is stored. */
  readonly storage: MatrixStorage;
  /** True where the codes of the weight are stored as they are. */
  readonly keepsCodes: boolean;
}

const LARGEST_BLOCK = 256;
const SMALLEST_BLOCK = 16;

/** The largest block size that divides a group; undefined where none does. */
function blockIn(groupSize: number): number | undefined {
  for (let size = LARGEST_BLOCK; size >= SMALLEST_BLOCK; size /= 2) if (groupSize % size === 0) return size;
  return undefined;
}

/** The block size that fits a row best, for matrices that nobody asked a size for. */
export function fittingBlock(columns: number): number {
  return [128, 64, 32].find((size) => columns % size === 0) ?? 32;
}

/**
 * Chooses the storage of one matrix.
 *
 * Codes that fit stay as they are: integers in groups that blocks divide, of at most 4 bits for `q4`; `int8` keeps those with one
 * scale for a row as rows. All else is restored and, but for `f32` and `f16`, rounded to nearest.
 */
export function chooseStorage(weight: WeightTensor, request: StorageRequest): ChosenStorage {
  const { weights, dtype, blockSize, symmetric, activations } = request;
  if (weights === 'f32' || weights === 'f16') return { storage: { kind: 'float', dtype: weights }, keepsCodes: false };
  const kept = weight.kind === 'quantized' ? keptStorage(weight, request) : undefined;
  if (kept) return { storage: kept, keepsCodes: true };
  if (weights === 'q4' || weights === 'q8') {
    const blocks =
      weights === 'q4'
        ? ({ bits: 4, blockSize, symmetric } as const)
        : ({ bits: 8, blockSize: fittingBlock(weight.shape[1]), symmetric: true } as const);
    return { storage: { kind: 'blocks', ...blocks, scaleDType: dtype }, keepsCodes: false };
  }
  const inputs = activations === 'token-dynamic' ? TOKEN_INPUTS : activations;
  return { storage: { kind: 'channels', symmetric: true, activations: inputs }, keepsCodes: false };
}

/** Inputs of 8 bits with a scale for each token, as compressed-tensors has them. */
const TOKEN_INPUTS: ActivationQuantization = { kind: 'token-dynamic', dtype: 'i8', symmetric: true };

function keptStorage(weight: QuantizedWeight, request: StorageRequest): MatrixStorage | undefined {
  const { scheme, groupIndex, shape } = weight;
  if (scheme.kind !== 'int' || (request.weights === 'q4' && scheme.bits > 4)) return undefined;
  const { symmetric, granularity, bits } = scheme;
  const ofRow = granularity.kind !== 'group';
  if (ofRow && request.weights === 'int8') {
    return { kind: 'channels', symmetric, activations: weight.activations ?? inputsOf(request) };
  }
  // A scale for a row is repeated for its blocks.
  const blockSize = ofRow ? fittingBlock(shape[1]) : blockIn(granularity.size);
  if (blockSize === undefined || (groupIndex && !hasEvenGroups(groupIndex, shape[1], granularity))) return undefined;
  return { kind: 'blocks', bits: bits <= 4 ? 4 : 8, blockSize, symmetric, scaleDType: request.dtype };
}

function inputsOf({ activations }: StorageRequest): ChannelStorage['activations'] {
  return activations === 'token-dynamic' ? TOKEN_INPUTS : activations;
}

function hasEvenGroups(groupIndex: Int32Array, columns: number, granularity: { kind: string; size?: number }): boolean {
  const size = granularity.size ?? columns;
  const counts = new Int32Array(columns / size);
  for (const group of groupIndex) counts[group]++;
  return counts.every((count) => count === size);
}

/** Columns in the order of their groups; undefined where they are in that order. */
export function columnOrder(weight: QuantizedWeight): Int32Array | undefined {
  const { groupIndex } = weight;
  if (groupIndex === undefined || groupIndex.every((group, i) => i === 0 || groupIndex[i - 1] <= group))
    return undefined;
  return Int32Array.from(groupIndex.keys()).sort((a, b) => groupIndex[a] - groupIndex[b] || a - b);
}
