// Where the values of a sparse matrix stand: the bitmask, shape and row offsets that compressed-tensors stores beside them.
// They are the same for kept values and for kept codes of weights that are quantized as well.
import { PithError } from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { unpackMask, type SparseFormat } from './sparse-pieces.ts';

/** The tensors beside the values. */
export interface SparseParts {
  /** One bit for each value. */
  readonly bitmask: StoredTensor;
  /** Where the values of each row begin; none under 2:4. */
  readonly rowOffsets: StoredTensor | undefined;
  /** Of the dense matrix. */
  readonly shape: StoredTensor;
}

/** A sparse matrix whose parts fit one another. */
export interface SparsePattern {
  /** Of the dense matrix. */
  readonly rows: number;
  /** Of the dense matrix. */
  readonly columns: number;
  /** Kept values before each row and before the end, [rows + 1]; undefined under 2:4, which keeps half of each row. */
  readonly rowStarts: Float64Array | undefined;
  /** Kept values before a row. */
  keptBefore(row: number): number;
  /** 1 where a value is kept, of rows `start` to `end`, [rows, columns]. */
  mask(start: number, end: number): Promise<Uint8Array>;
}

/** The module of a tensor `...compressed`; the first files of the library have `.weight` in between. */
export function moduleOfSparse(name: string): string {
  return name.slice(0, -'.compressed'.length).replace(/\.weight$/, '');
}

/**
 * Collects the tensors beside the values.
 *
 * @param prefix Of all their names.
 * @param name Of the tensor that they were looked for, for errors.
 * @throws PithError `CT_TENSOR_MISSING`.
 */
export function sparseParts(tensors: ReadonlyMap<string, StoredTensor>, prefix: string, name: string): SparseParts {
  return {
    bitmask: requiredPart(tensors, `${prefix}.bitmask`, name),
    rowOffsets: tensors.get(`${prefix}.row_offsets`),
    shape: requiredPart(tensors, `${prefix}.shape`, name),
  };
}

/** A tensor that must be beside another. @throws PithError `CT_TENSOR_MISSING` */
export function requiredPart(tensors: ReadonlyMap<string, StoredTensor>, wanted: string, name: string): StoredTensor {
  const tensor = tensors.get(wanted);
  if (tensor) return tensor;
  throw new PithError(
    'CT_TENSOR_MISSING',
    `read compressed-tensors: tensor ${JSON.stringify(name)} must have ${JSON.stringify(wanted)} beside it, it has not; get the ` +
      'checkpoint again',
    { details: { tensor: name, missing: wanted } },
  );
}

/**
 * Reads shape and row offsets, and checks that values, mask and shape fit one another and the format.
 *
 * @throws PithError `CT_SPARSE_INVALID`.
 */
export async function readSparsePattern(
  { bitmask, rowOffsets, shape }: SparseParts,
  compressed: StoredTensor,
  format: SparseFormat,
): Promise<SparsePattern> {
  const module = moduleOfSparse(compressed.name);
  const invalid = (why: string) => sparseInvalid(module, compressed, why);
  const twoOfFour = format === 'sparse-24-bitmask';
  if (twoOfFour !== (rowOffsets === undefined)) {
    throw invalid(`${twoOfFour ? 'there are' : 'there are no'} row offsets under ${format}`);
  }
  const [rows, columns] = await readShape(shape, bitmask, invalid);
  const wanted = twoOfFour ? [rows, columns / 2] : [compressed.shape[0]];
  if (compressed.shape.join() !== wanted.join() || (twoOfFour && columns % 4 !== 0)) {
    throw invalid(`the values have shape [${compressed.shape.join(', ')}] for [${rows}, ${columns}]`);
  }
  const rowStarts = rowOffsets && (await readRowStarts(rowOffsets, rows, columns, compressed.shape[0]!, invalid));
  const rowBits = Math.ceil(columns / 8);
  return {
    ...{ rows, columns, rowStarts },
    keptBefore: (row) => (rowStarts ? rowStarts[row]! : (row * columns) / 2),
    mask: async (start, end) =>
      unpackMask(await bitmask.source.read(start * rowBits, (end - start) * rowBits), columns),
  };
}

/** The error for tensors of a sparse module that do not fit one another. */
export function sparseInvalid(module: string, { file }: StoredTensor, why: string): PithError {
  return new PithError(
    'CT_SPARSE_INVALID',
    `read compressed-tensors: the tensors of sparse ${JSON.stringify(module)} in ${file} must fit one ` +
      `another, ${why}; get the checkpoint again`,
    { details: { module, file } },
  );
}

type Invalid = (why: string) => PithError;

async function readShape(
  shape: StoredTensor,
  bitmask: StoredTensor,
  invalid: Invalid,
): Promise<readonly [rows: number, columns: number]> {
  if (shape.dtype !== 'i64' || shape.byteLength !== 16) {
    throw invalid(`the shape must be I64 [2], got ${shape.dtype.toUpperCase()} [${shape.shape.join(', ')}]`);
  }
  if (bitmask.dtype !== 'u8' || bitmask.shape.length !== 2) {
    throw invalid(`the bitmask must be a U8 matrix, got ${bitmask.dtype.toUpperCase()} [${bitmask.shape.join(', ')}]`);
  }
  const bytes = await shape.source.read(0, 16);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  const [rows, columns] = [view.getBigInt64(0, true), view.getBigInt64(8, true)];
  const [maskRows, maskBytes] = bitmask.shape as readonly [number, number];
  // The mask's own shape bounds what the numbers in here can ask for.
  if (rows !== BigInt(maskRows) || columns < 1n || (columns + 7n) / 8n !== BigInt(maskBytes)) {
    throw invalid(`the shape [${rows}, ${columns}] does not fit a bitmask of [${maskRows}, ${maskBytes}]`);
  }
  return [Number(rows), Number(columns)];
}

/** Where the values of each row begin, and where they end. */
async function readRowStarts(
  offsets: StoredTensor,
  rows: number,
  columns: number,
  kept: number,
  invalid: Invalid,
): Promise<Float64Array> {
  if (offsets.dtype !== 'i64' || offsets.shape.join() !== `${rows}`) {
    throw invalid(
      `row offsets must be I64 [${rows}], got ${offsets.dtype.toUpperCase()} [${offsets.shape.join(', ')}]`,
    );
  }
  const bytes = await offsets.source.read(0, offsets.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const starts = new Float64Array(rows + 1);
  for (let row = 0; row < rows; row += 1) starts[row] = Number(view.getBigInt64(8 * row, true));
  starts[rows] = kept;
  for (let row = 0; row < rows; row += 1) {
    const count = starts[row + 1]! - starts[row]!;
    if (starts[0] !== 0 || !(count >= 0 && count <= columns)) {
      throw invalid(`row ${row} has ${count} values, which must be 0 to ${columns}, and row 0 begins at ${starts[0]}`);
    }
  }
  return starts;
}
