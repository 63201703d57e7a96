// A stored tensor as a dense weight.
import { PithError, toF32, type DenseWeight } from '@pith/tensor-core';
import { byteRange } from '../safetensors/byte-range.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { asConvertible } from '../safetensors/stored-dtype.ts';

/**
 * A tensor of a file as a {@link DenseWeight}; nothing is read. A scalar counts as one row.
 *
 * @throws PithError `DTYPE_NOT_CONVERTIBLE`.
 */
export function storedDenseWeight(tensor: StoredTensor): DenseWeight {
  const dtype = asConvertible(tensor.dtype, tensor.name);
  const { name, shape, source, byteLength } = tensor;
  const rows = shape[0] ?? 1;
  const rowBytes = rows === 0 ? 0 : byteLength / rows;
  const bytes = async (start = 0, end = rows): Promise<Uint8Array> => {
    checkRows(name, start, end, rows);
    return source.read(start * rowBytes, (end - start) * rowBytes);
  };
  return {
    kind: 'dense',
    name,
    dtype,
    shape,
    byteLength,
    ...(source.file && { file: source.file }),
    bytes,
    toF32: async (start, end) => toF32(dtype, await bytes(start, end)),
    slice(start, end) {
      checkRows(name, start, end, rows);
      const part = byteRange(source, start * rowBytes, (end - start) * rowBytes);
      const base = { ...tensor, name, dtype, shape: [end - start, ...shape.slice(1)] };
      return storedDenseWeight({ ...base, byteLength: part.byteLength, source: part });
    },
  };
}

/**
 * Refuses rows that a weight does not have.
 *
 * @throws PithError `ROWS_OUT_OF_RANGE`.
 */
export function checkRows(name: string, start: number, end: number, rows: number): void {
  if (Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start <= end && end <= rows) return;
  throw new PithError(
    'ROWS_OUT_OF_RANGE',
    `read weight: rows ${start} to ${end} must lie in the ${rows} rows of ${JSON.stringify(name)}`,
    { kind: 'internal', details: { tensor: name, start, end, rows } },
  );
}
