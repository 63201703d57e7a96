// Sparse weights over the tensors that compressed-tensors stores them as. Of each weight the shape (16 bytes) and, for a
// bitmask, the row offsets (8 bytes per row) are read when the checkpoint is opened; values and mask when asked for.
import { byteLengthOf, PithError, sparseWeight, type SparseWeight } from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import type { SparseFormat } from './sparse-pieces.ts';
import { unpackMask } from './sparse-pieces.ts';

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

interface Parts {
  readonly module: string;
  readonly compressed: StoredTensor;
  readonly bitmask: StoredTensor;
  readonly rowOffsets: StoredTensor | undefined;
  readonly shape: StoredTensor;
}

/**
 * Finds the sparse weights among the tensors of a checkpoint. The first files of the library had `.weight` in the names
 * (`up_proj.weight.compressed`); both are read.
 *
 * @throws PithError `CT_TENSOR_MISSING`, `CT_SPARSE_INVALID` (tensors that do not fit one another or the format),
 * `CT_SCHEME_UNSUPPORTED` (sparse and quantized at once).
 */
export async function readSparseWeights(
  tensors: ReadonlyMap<string, StoredTensor>,
  format: SparseFormat,
): Promise<StoredSparse[]> {
  const found: StoredSparse[] = [];
  for (const name of tensors.keys()) {
    const suffix = ['.compressed', '.bitmask'].find((end) => name.endsWith(end));
    if (suffix === undefined) continue;
    const parts = collect(tensors, name.slice(0, -suffix.length), name);
    if (suffix === '.compressed') found.push(await describe(parts, format));
  }
  return found;
}

function collect(tensors: ReadonlyMap<string, StoredTensor>, module: string, name: string): Parts {
  const required = (suffix: string): StoredTensor => {
    const tensor = tensors.get(`${module}.${suffix}`);
    if (tensor) return tensor;
    throw new PithError(
      'CT_TENSOR_MISSING',
      `read compressed-tensors: tensor ${JSON.stringify(name)} must have ${JSON.stringify(`${module}.${suffix}`)} beside ` +
        'it, it has not; get the checkpoint again',
      { details: { tensor: name, missing: `${module}.${suffix}` } },
    );
  };
  const base = module.endsWith('.weight') ? module : `${module}.weight`;
  if (tensors.has(`${base}_scale`)) {
    throw new PithError(
      'CT_SCHEME_UNSUPPORTED',
      `read compressed-tensors: module ${JSON.stringify(module)} is sparse and quantized at once, which is not read`,
      { details: { module } },
    );
  }
  const rowOffsets = tensors.get(`${module}.row_offsets`);
  return {
    module,
    compressed: required('compressed'),
    bitmask: required('bitmask'),
    rowOffsets,
    shape: required('shape'),
  };
}

async function describe(parts: Parts, format: SparseFormat): Promise<StoredSparse> {
  const { module, compressed, bitmask, rowOffsets, shape } = parts;
  const invalid = (why: string) =>
    new PithError(
      'CT_SPARSE_INVALID',
      `read compressed-tensors: the tensors of sparse ${JSON.stringify(module)} in ${compressed.file} must fit one ` +
        `another, ${why}; get the checkpoint again`,
      { details: { module, file: compressed.file } },
    );
  const dtype = compressed.dtype as ValueDType;
  if (!VALUE_DTYPES.includes(dtype)) throw invalid(`the values are ${compressed.dtype}, not f32, f16 or bf16`);
  const twoOfFour = format === 'sparse-24-bitmask';
  if (twoOfFour !== (rowOffsets === undefined)) {
    throw invalid(`${twoOfFour ? 'there are' : 'there are no'} row offsets under ${format}`);
  }
  const [rows, columns] = await readShape(shape, bitmask, invalid);
  const layout = twoOfFour ? '2:4' : 'bitmask';
  const wanted = twoOfFour ? [rows, columns / 2] : [compressed.shape[0]];
  if (compressed.shape.join() !== wanted.join() || (twoOfFour && columns % 4 !== 0)) {
    throw invalid(`the values have shape [${compressed.shape.join(', ')}] for [${rows}, ${columns}]`);
  }
  const rowStarts = rowOffsets && (await readRowStarts(rowOffsets, rows, columns, compressed.shape[0]!, invalid));
  const width = byteLengthOf(dtype, 1);
  const rowBits = Math.ceil(columns / 8);
  const first = (row: number): number => (rowStarts ? rowStarts[row]! : (row * columns) / 2);
  const weight = sparseWeight({
    name: module.endsWith('.weight') ? module : `${module}.weight`,
    ...{ shape: [rows, columns], layout, dtype },
    ...(rowStarts && { rowStarts }),
    read: async (start, end) => {
      const [values, bits] = await Promise.all([
        compressed.source.read(first(start) * width, (first(end) - first(start)) * width),
        bitmask.source.read(start * rowBits, (end - start) * rowBits),
      ]);
      return { values, mask: unpackMask(bits, columns) };
    },
  });
  const all = [compressed, bitmask, ...(rowOffsets ? [rowOffsets] : []), shape];
  return { weight, first: compressed.name, names: all.map(({ name }) => name) };
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
