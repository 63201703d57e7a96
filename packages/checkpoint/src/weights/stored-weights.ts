// How weights of every representation lie in a checkpoint: the tensors that each becomes, their bytes by chunks, and what
// config.json says of them. What a representation needs to be written is added here, once, for all writers.
import {
  factorNames,
  PithError,
  type DenseWeight,
  type FactoredWeight,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import { encodeWeight, type StoredChunk } from '../compressed-tensors/encode-block.ts';
import { compressedFormat, storedPieces } from '../compressed-tensors/stored-pieces.ts';
import { encodeSparseWeight, sparseFormat, sparsePieces } from '../compressed-tensors/sparse-pieces.ts';
import {
  quantizationConfig,
  sparseOnlyConfig,
  sparsityConfig,
  type ConfigGroup,
} from '../compressed-tensors/write-config.ts';
import type { JsonObject, JsonValue } from '../json/parse-json.ts';
import { setMembers } from '../json/set-members.ts';
import { LOW_RANK_KEY, lowRankConfig } from '../low-rank/low-rank-config.ts';
import type { OutputTensor } from '../safetensors/plan-output.ts';
import type { StoredDType } from '../safetensors/stored-dtype.ts';

/** Bytes of a dense weight that are copied at a time. */
const CHUNK_BYTES = 8 * 1024 * 1024;

/** What is said of the weights of a checkpoint as a whole. */
export interface StoredWeightsOptions {
  /**
   * True when runtimes are to quantize activations as well (W8A8, FP8), also of weights that do not say so themselves
   * (`QuantizedWeight.activations`).
   */
  readonly activations?: boolean;
  /** Paths of linear modules that stay dense, `lm_head` first of all; needed with quantized weights. */
  readonly ignore?: readonly string[];
}

/**
 * The tensors that a weight is stored as: a dense one as itself, a quantized or sparse one as compressed-tensors, a factored
 * one as its two factors (`factorNames`).
 *
 * @throws PithError those of `storedPieces` and `sparsePieces`.
 */
export function storedTensors(weight: WeightTensor, options: StoredWeightsOptions = {}): readonly OutputTensor[] {
  if (weight.kind === 'dense') {
    return [{ name: weight.name, dtype: weight.dtype as StoredDType, shape: weight.shape }];
  }
  if (weight.kind === 'quantized')
    return storedPieces(weight, compressedFormat(weight.scheme, isActive(weight, options)));
  if (weight.kind === 'factored') return factorsOf(weight).flatMap((factor) => storedTensors(factor, options));
  return sparsePieces(weight);
}

/**
 * The bytes of those tensors, chunk by chunk.
 *
 * @throws PithError those of `encodeWeight` and `sparsePieces`.
 */
export async function* storedChunks(
  weight: WeightTensor,
  options: StoredWeightsOptions = {},
): AsyncGenerator<StoredChunk> {
  if (weight.kind === 'dense') yield* denseChunks(weight);
  else if (weight.kind === 'quantized')
    yield* encodeWeight(weight, compressedFormat(weight.scheme, isActive(weight, options)));
  else if (weight.kind === 'factored') for (const factor of factorsOf(weight)) yield* storedChunks(factor, options);
  else yield* encodeSparseWeight(weight);
}

/**
 * The text of a config.json with what readers must know of the weights. Quantized weights that are coded alike form one
 * config group; where there are several groups, each names its modules. Sparse weights are named in `sparsity_config`,
 * factored ones with their ranks.
 *
 * @throws PithError as `quantizationConfig` and `setMembers` do, `LOW_RANK_NAME`, `CT_SPARSITY_MIXED` (sparse weights in two
 * layouts).
 */
export function storedConfig(
  configText: string,
  weights: Iterable<WeightTensor>,
  options: StoredWeightsOptions = {},
): string {
  const byScheme = new Map<string, { group: ConfigGroup; modules: string[] }>();
  const whole = [...weights];
  for (const weight of whole.flatMap((one) => (one.kind === 'factored' ? factorsOf(one) : [one]))) {
    if (weight.kind !== 'quantized') continue;
    const { scheme } = weight;
    const activations = formOf(weight) ?? options.activations ?? false;
    // The scale dtype is no part of a group.
    const key = JSON.stringify([{ ...scheme, scaleDType: '' }, activations]);
    const entry = byScheme.get(key) ?? { group: { scheme, activations }, modules: [] };
    entry.modules.push(weight.name.slice(0, -'.weight'.length));
    byScheme.set(key, entry);
  }
  const lowRank = { [LOW_RANK_KEY]: lowRankConfig(whole) as JsonValue | undefined };
  const entries = [...byScheme.values()];
  const sparsity = sparsityOf(whole);
  if (entries.length === 0) {
    return setMembers(configText, { quantization_config: sparsity && sparseOnlyConfig(sparsity), ...lowRank });
  }
  const groups =
    entries.length === 1 ? [entries[0]!.group] : entries.map(({ group, modules }) => ({ ...group, targets: modules }));
  const config = quantizationConfig({ groups, ignore: options.ignore ?? [] });
  const both = sparsity ? { ...config, sparsity_config: sparsity } : config;
  return setMembers(configText, { quantization_config: both, ...lowRank });
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

function isActive(weight: QuantizedWeight, { activations }: StoredWeightsOptions): boolean {
  return weight.activations !== undefined || (activations ?? false);
}

/** What a config group says of the activations of a weight. */
function formOf({ activations }: QuantizedWeight) {
  if (activations === undefined) return undefined;
  const { kind, dtype, symmetric } = activations;
  return { kind, dtype, symmetric };
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
