// Sparse weights over the tensors that compressed-tensors stores them as. Of each weight the shape (16 bytes) and, for a
// bitmask, the row offsets (8 bytes per row) are read when the checkpoint is opened; values and mask when asked for.
import { byteLengthOf, sparseWeight, type SparseWeight } from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import type { SparseFormat } from './sparse-pieces.ts';
import {
  moduleOfSparse,
  readSparsePattern,
  requiredPart,
  sparseInvalid,
  sparseParts,
  type SparseParts,
} from './sparse-pattern.ts';

/** A sparse weight and the tensors that it lies in. */
export interface StoredSparse {
  /** The weight, by the name of its dense form. */
  readonly weight: SparseWeight;
  /** The tensor that stands for it in the order of the file. */
  readonly first: string;
  /** All its tensors. */
  readonly names: readonly string[];
}

const VALUE_DTYPES = ['f32', 'f16', 'bf16'] as const;
type ValueDType = (typeof VALUE_DTYPES)[number];

/**
 * Finds the sparse weights among the tensors of a checkpoint that are not quantized as well. The first files of the library had
 * `.weight` in the names (`up_proj.weight.compressed`); both are read.
 *
 * @throws PithError `CT_TENSOR_MISSING`, `CT_SPARSE_INVALID` (tensors that do not fit one another or the format).
 */
export async function readSparseWeights(
  tensors: ReadonlyMap<string, StoredTensor>,
  format: SparseFormat,
): Promise<StoredSparse[]> {
  const found: StoredSparse[] = [];
  for (const [name, tensor] of tensors) {
    if (name.endsWith('.bitmask')) requiredPart(tensors, `${name.slice(0, -'.bitmask'.length)}.compressed`, name);
    if (!name.endsWith('.compressed') || tensors.has(`${moduleOfSparse(name)}.weight_scale`)) continue;
    const parts = sparseParts(tensors, name.slice(0, -'.compressed'.length), name);
    found.push(await describe(tensor, parts, format));
  }
  return found;
}

async function describe(compressed: StoredTensor, parts: SparseParts, format: SparseFormat): Promise<StoredSparse> {
  const module = moduleOfSparse(compressed.name);
  const dtype = compressed.dtype as ValueDType;
  if (!VALUE_DTYPES.includes(dtype)) {
    throw sparseInvalid(module, compressed, `the values are ${compressed.dtype}, not f32, f16 or bf16`);
  }
  const { rows, columns, rowStarts, keptBefore, mask } = await readSparsePattern(parts, compressed, format);
  const width = byteLengthOf(dtype, 1);
  const weight = sparseWeight({
    ...{ name: `${module}.weight`, shape: [rows, columns], dtype },
    layout: format === 'sparse-24-bitmask' ? '2:4' : 'bitmask',
    ...(rowStarts && { rowStarts }),
    read: async (start, end) => {
      const [values, kept] = await Promise.all([
        compressed.source.read(keptBefore(start) * width, (keptBefore(end) - keptBefore(start)) * width),
        mask(start, end),
      ]);
      return { values, mask: kept };
    },
  });
  const { bitmask, rowOffsets, shape } = parts;
  const all = [compressed, bitmask, ...(rowOffsets ? [rowOffsets] : []), shape];
  return { weight, first: compressed.name, names: all.map(({ name }) => name) };
}
