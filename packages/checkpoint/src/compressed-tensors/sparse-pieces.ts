// The tensors that a sparse weight becomes under compressed-tensors, and their bytes.
//
// | format             | compressed           | bitmask                   | row_offsets | shape      |
// | ------------------ | -------------------- | ------------------------- | ----------- | ---------- |
// | sparse-bitmask     | values [kept]        | u8 [rows, ceil(cols / 8)] | i64 [rows]  | i64 [2]    |
// | sparse-24-bitmask  | values [rows, cols/2]| u8 [rows, ceil(cols / 8)] | none        | i64 [2, 1] |
//
// Names are those of the module: `model.layers.0.mlp.up_proj.compressed`. Bit i of a byte is column 8 byte + i; a row offset
// counts values. 2:4 keeps exactly two of each four columns, zeros among them where there are fewer.
//
// Source: compressed-tensors 0.14, `compressors/sparse_compressors`; later versions have neither.
import { byteLengthOf, PithError, type ByteDType, type SparseWeight } from '@pith/tensor-core';
import type { StoredDType } from '../safetensors/stored-dtype.ts';
import type { StoredChunk } from './encode-block.ts';

/** Formats of sparse weights. */
export type SparseFormat = 'sparse-bitmask' | 'sparse-24-bitmask';

/** What a stored tensor of a sparse weight holds. */
export type SparsePieceRole = 'compressed' | 'bitmask' | 'row_offsets' | 'shape';

/** A stored tensor of a sparse weight. */
export interface SparsePiece {
  /** What it holds. */
  readonly role: SparsePieceRole;
  /** Name in the file. */
  readonly name: string;
  /** How its values are stored. */
  readonly dtype: StoredDType;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** Bytes in the file. */
  readonly byteLength: number;
}

/** A sparse weight as the stored layout needs it: a `SparseWeight` is one. */
export type SparseShape = Pick<SparseWeight, 'name' | 'shape' | 'layout' | 'dtype' | 'kept'>;

/** The name of a layout in config.json. */
export function sparseFormat(layout: SparseWeight['layout']): SparseFormat {
  return layout === '2:4' ? 'sparse-24-bitmask' : 'sparse-bitmask';
}

/**
 * The stored tensors of a sparse weight, in the order of {@link SparsePieceRole}.
 *
 * @throws PithError `CT_NAME_UNSUPPORTED` (a name that does not end in `.weight`).
 */
export function sparsePieces({ name, shape, layout, dtype, kept }: SparseShape): SparsePiece[] {
  if (!name.endsWith('.weight')) {
    throw new PithError(
      'CT_NAME_UNSUPPORTED',
      `store "${name}" as compressed-tensors: the name of a sparse weight must end in ".weight"; store it dense`,
      { details: { tensor: name } },
    );
  }
  const module = name.slice(0, -'.weight'.length);
  const [rows, columns] = shape as readonly [number, number];
  const piece = (role: SparsePieceRole, dtype: StoredDType, shape: readonly number[]): SparsePiece => {
    const count = shape.reduce((product, length) => product * length, 1);
    return { role, name: `${module}.${role}`, dtype, shape, byteLength: byteLengthOf(dtype as ByteDType, count) };
  };
  const values = dtype as StoredDType;
  const bits = piece('bitmask', 'u8', [rows, Math.ceil(columns / 8)]);
  if (layout === '2:4') return [piece('compressed', values, [rows, columns / 2]), bits, piece('shape', 'i64', [2, 1])];
  return [piece('compressed', values, [kept]), bits, piece('row_offsets', 'i64', [rows]), piece('shape', 'i64', [2])];
}

/** Streams a sparse weight as stored bytes, in blocks of about `blockWeights` weights. */
export async function* encodeSparseWeight(
  weight: SparseWeight,
  blockWeights = 4 * 1024 * 1024,
): AsyncGenerator<StoredChunk> {
  const [rows, columns] = weight.shape as readonly [number, number];
  const pieces = new Map(sparsePieces(weight).map((piece) => [piece.role, piece.name]));
  const width = byteLengthOf(weight.dtype as ByteDType, 1);
  const rowBits = Math.ceil(columns / 8);
  const step = Math.max(1, Math.floor(blockWeights / Math.max(1, columns)));
  yield { name: pieces.get('shape')!, offset: 0, bytes: i64(BigInt64Array.of(BigInt(rows), BigInt(columns))) };
  let kept = 0;
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    const { values, mask } = await weight.block(start, end);
    yield { name: pieces.get('compressed')!, offset: kept * width, bytes: values };
    yield { name: pieces.get('bitmask')!, offset: start * rowBits, bytes: packMask(mask, columns) };
    const offsets = new BigInt64Array(end - start);
    for (let row = 0; row < end - start; row += 1) {
      offsets[row] = BigInt(kept);
      for (let i = row * columns; i < (row + 1) * columns; i += 1) kept += mask[i]!;
    }
    const name = pieces.get('row_offsets');
    if (name !== undefined) yield { name, offset: 8 * start, bytes: i64(offsets) };
  }
}

/** One bit per weight, bit 0 first, rows padded to bytes. */
export function packMask(mask: Uint8Array, columns: number): Uint8Array {
  const rowBits = Math.ceil(columns / 8);
  const rows = columns === 0 ? 0 : mask.length / columns;
  const bits = new Uint8Array(rows * rowBits);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      bits[row * rowBits + (column >> 3)]! |= mask[row * columns + column]! << (column & 7);
    }
  }
  return bits;
}

/** The mask of {@link packMask}. */
export function unpackMask(bits: Uint8Array, columns: number): Uint8Array {
  const rowBits = Math.ceil(columns / 8);
  const rows = rowBits === 0 ? 0 : bits.length / rowBits;
  const mask = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      mask[row * columns + column] = (bits[row * rowBits + (column >> 3)]! >> (column & 7)) & 1;
    }
  }
  return mask;
}

function i64(values: BigInt64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
