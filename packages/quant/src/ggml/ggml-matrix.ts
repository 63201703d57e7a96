// A weight as the matrix that its blocks are cut from: every axis but the last is rows.
import { elementCount, type DenseWeight, type WeightTensor } from '@pith/tensor-core';

/** Rows of stored values. */
export interface GgmlMatrix {
  /** Rows; 1 for a vector. */
  readonly rows: number;
  /** Values of a row, which lie side by side. */
  readonly columns: number;
  /** Format of {@link GgmlMatrix.bytes}. */
  readonly dtype: 'f32' | 'f16' | 'bf16';
  /** True where the bytes are those that are stored. */
  readonly stored: boolean;
  /** Where the first row lies in a local file; absent where bytes must be asked for. */
  readonly file?: DenseWeight['file'];
  /** Little-endian bytes of rows `start` to `end` (exclusive). */
  bytes(start: number, end: number): Promise<Uint8Array>;
}

/** Views a weight as a matrix; what no kernel reads as it is stored comes as f32. */
export function ggmlMatrix(weight: WeightTensor): GgmlMatrix {
  const { shape, name } = weight;
  const columns = shape.at(-1) ?? 1;
  const count = elementCount(shape, name);
  const rows = columns === 0 ? 0 : count / columns;
  // The weight's own rows are along axis 0; a vector's rows hold one value.
  const rowsOfAxis0 = shape.length < 2 ? 1 / columns : rows / shape[0]!;
  const read = async (
    start: number,
    end: number,
    load: (a: number, b: number) => Promise<Uint8Array>,
    size: number,
  ) => {
    const from = Math.floor(start / rowsOfAxis0);
    const bytes = await load(from, Math.ceil(end / rowsOfAxis0));
    const at = (start - from * rowsOfAxis0) * columns * size;
    return bytes.subarray(at, at + (end - start) * columns * size);
  };
  if (weight.kind === 'dense' && (weight.dtype === 'f32' || weight.dtype === 'f16' || weight.dtype === 'bf16')) {
    const size = weight.dtype === 'f32' ? 4 : 2;
    const { dtype, file } = weight;
    const bytes = (start: number, end: number) => read(start, end, (a, b) => weight.bytes(a, b), size);
    return { rows, columns, dtype, stored: true, ...(file && { file }), bytes };
  }
  const restored = async (a: number, b: number) => new Uint8Array((await weight.toF32(a, b)).buffer);
  return { rows, columns, dtype: 'f32', stored: false, bytes: (start, end) => read(start, end, restored, 4) };
}
