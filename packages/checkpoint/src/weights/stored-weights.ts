// How weights of every representation lie in a checkpoint: the tensors that each becomes, their bytes by chunks, and what
// config.json says of them. What a representation needs to be written is added here, once, for all writers.
import {
  factorNames,
  PithError,
  type DenseWeight,
  type FactoredWeight,
  type PackedWeight,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import type { StoredChunk } from '../compressed-tensors/encode-block.ts';
import { compressedTensors } from '../compressed-tensors/format.ts';
import { encodeSparseWeight, sparseFormat, sparsePieces } from '../compressed-tensors/sparse-pieces.ts';
import { sparseOnlyConfig, sparsityConfig } from '../compressed-tensors/write-config.ts';
import {
  QUANTIZATION_KEYS,
  type FormatConfig,
  type FormatContext,
  type WeightFormat,
} from '../formats/weight-format.ts';
import type { JsonObject, JsonValue } from '../json/parse-json.ts';
import { setMembers } from '../json/set-members.ts';
import { LOW_RANK_KEY, lowRankConfig } from '../low-rank/low-rank-config.ts';
import type { OutputTensor } from '../safetensors/plan-output.ts';
import type { StoredDType } from '../safetensors/stored-dtype.ts';

/** Bytes of a dense weight that are copied at a time. */
const CHUNK_BYTES = 8 * 1024 * 1024;

/** What is said of the weights of a checkpoint as a whole. */
export interface StoredWeightsOptions extends FormatContext {
  /** How quantized weights are stored; compressed-tensors when left out. */
  readonly format?: WeightFormat;
}

/**
 * The tensors that a weight is stored as: a dense one as itself, a quantized one as the format has it, a sparse one as
 * compressed-tensors, a factored one as its two factors (`factorNames`).
 *
 * @throws PithError `REPRESENTATION_UNSUPPORTED` for a weight in blocks of another format, those of the format, and of
 * `sparsePieces`.
 */
export function storedTensors(weight: WeightTensor, options: StoredWeightsOptions = {}): readonly OutputTensor[] {
  if (weight.kind === 'dense') {
    return [{ name: weight.name, dtype: weight.dtype as StoredDType, shape: weight.shape }];
  }
  if (weight.kind === 'quantized') return formatOf(options).tensors(weight, options);
  if (weight.kind === 'factored') return factorsOf(weight).flatMap((factor) => storedTensors(factor, options));
  if (weight.kind === 'packed') throw packed(weight);
  return sparsePieces(weight);
}

/**
 * The bytes of those tensors, chunk by chunk.
 *
 * @throws PithError those of the format, and of `sparsePieces`.
 */
export async function* storedChunks(
  weight: WeightTensor,
  options: StoredWeightsOptions = {},
): AsyncGenerator<StoredChunk> {
  if (weight.kind === 'dense') yield* denseChunks(weight);
  else if (weight.kind === 'quantized') yield* formatOf(options).chunks(weight, options);
  else if (weight.kind === 'factored') for (const factor of factorsOf(weight)) yield* storedChunks(factor, options);
  else if (weight.kind === 'packed') throw packed(weight);
  else yield* encodeSparseWeight(weight);
}

/**
 * What config.json and further files say of the weights: how quantized ones are coded, as the format has it, which are
 * sparse, and the ranks of factored ones.
 *
 * @throws PithError those of the format, `LOW_RANK_NAME`, `CT_SPARSITY_MIXED` (sparse weights in two layouts),
 * `FORMAT_NOT_SPARSE` (sparse and quantized weights in a format that knows no sparse ones).
 */
export function storedMembers(weights: Iterable<WeightTensor>, options: StoredWeightsOptions = {}): FormatConfig {
  const whole = [...weights];
  const parts = whole.flatMap((one) => (one.kind === 'factored' ? factorsOf(one) : [one]));
  const quantized = parts.filter((weight) => weight.kind === 'quantized');
  const removed = Object.fromEntries(QUANTIZATION_KEYS.map((key) => [key, undefined]));
  const lowRank = { [LOW_RANK_KEY]: lowRankConfig(whole) as JsonValue | undefined };
  const sparsity = sparsityOf(whole);
  if (quantized.length === 0 && options.kvCache === undefined) {
    const members = { ...removed, quantization_config: sparsity && sparseOnlyConfig(sparsity), ...lowRank };
    return { members, files: {} };
  }
  const format = formatOf(options);
  const { members, files } = format.config(quantized, options);
  if (sparsity === undefined) return { members: { ...removed, ...members, ...lowRank }, files };
  if (format !== compressedTensors) throw notSparse(format, whole);
  const both = { ...(members['quantization_config'] as JsonObject), sparsity_config: sparsity };
  return { members: { ...removed, quantization_config: both, ...lowRank }, files };
}

/**
 * The text of a config.json with {@link storedMembers}.
 *
 * @throws PithError those of `storedMembers` and `setMembers`.
 */
export function storedConfig(
  configText: string,
  weights: Iterable<WeightTensor>,
  options: StoredWeightsOptions = {},
): string {
  return setMembers(configText, storedMembers(weights, options).members);
}

function formatOf({ format = compressedTensors }: StoredWeightsOptions): WeightFormat {
  return format;
}

function notSparse(format: WeightFormat, weights: readonly WeightTensor[]): PithError {
  const sparse = weights.filter(({ kind }) => kind === 'sparse').map(({ name }) => name);
  const listed = sparse.slice(0, 10).join(', ') + (sparse.length > 10 ? `, and ${sparse.length - 10} more` : '');
  return new PithError(
    'FORMAT_NOT_SPARSE',
    `store weights as ${format.name}: the format holds no sparse weights, got ${listed}; store them dense`,
    { details: { format: format.name, tensors: sparse } },
  );
}

function packed({ name, coding }: PackedWeight): PithError {
  return new PithError(
    'REPRESENTATION_UNSUPPORTED',
    `store ${name} in safetensors: ${coding} blocks belong to another format; restore the weight first`,
    { details: { tensor: name, coding } },
  );
}

/** The factors under the names that they are stored by, the one that is applied first before the other. */
function factorsOf({ name, left, right }: FactoredWeight): (DenseWeight | QuantizedWeight)[] {
  const names = factorNames(name);
  return [
    { ...right, name: names.right },
    { ...left, name: names.left },
  ];
}

async function* denseChunks(weight: DenseWeight): AsyncGenerator<StoredChunk> {
  const rows = weight.shape[0] ?? 1;
  const rowBytes = rows === 0 ? 0 : weight.byteLength / rows;
  const step = Math.max(1, Math.floor(CHUNK_BYTES / Math.max(1, rowBytes)));
  for (let start = 0; start < rows; start += step) {
    const bytes = await weight.bytes(start, Math.min(rows, start + step));
    yield { name: weight.name, offset: start * rowBytes, bytes };
  }
}

/** What is said of sparse weights; undefined without any. */
function sparsityOf(weights: readonly WeightTensor[]): JsonObject | undefined {
  const sparse = weights.filter((weight) => weight.kind === 'sparse');
  if (sparse.length === 0) return undefined;
  const formats = new Set(sparse.map(({ layout }) => sparseFormat(layout)));
  if (formats.size > 1) {
    throw new PithError(
      'CT_SPARSITY_MIXED',
      'store weights as compressed-tensors: all sparse weights must have one layout, got bitmask and 2:4; choose one for all ' +
        '(compactWeights does)',
      { details: { formats: [...formats] } },
    );
  }
  const count = ({ shape }: WeightTensor) => shape.reduce((product, length) => product * length, 1);
  const all = weights.reduce((sum, weight) => sum + count(weight), 0);
  const zeros = sparse.reduce((sum, weight) => sum + count(weight) - weight.kept, 0);
  return sparsityConfig({
    format: [...formats][0]!,
    targets: sparse.map(({ name }) => name.slice(0, -'.weight'.length)),
    globalSparsity: zeros / all,
  });
}
