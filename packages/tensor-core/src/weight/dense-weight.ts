// A weight with one value per element, over a byte source.
import { byteLengthOf } from '../dtype/byte-length.ts';
import { toF32, type ByteDType } from '../dtype/convert.ts';
import { PithError } from '../errors/pith-error.ts';
import { elementCount } from '../tensor/shape.ts';
import { byteRange } from './byte-range.ts';
import type { ByteSource } from './byte-source.ts';
import { matrixShape, requireRows } from './rows.ts';
import type { DenseWeight } from './weight-tensor.ts';

/** What a dense weight is made of. */
export interface DenseWeightParts {
  /** Name in the checkpoint. */
  readonly name: string;
  /** Format of the values. */
  readonly dtype: ByteDType;
  /** Outermost axis first; `[]` is a scalar, which counts as one row. */
  readonly shape: readonly number[];
  /** The little-endian values, row-major, and nothing else. */
  readonly source: ByteSource;
}

/**
 * A dense weight; nothing is read until it is asked for.
 *
 * @throws PithError `WEIGHT_BYTES_MISMATCH` when the source has not the bytes of shape and dtype, `SHAPE_INVALID`,
 * `SHAPE_TOO_LARGE`; its methods throw `ROWS_OUT_OF_RANGE` and what the source throws
 */
export function denseWeight({ name, dtype, shape, source }: DenseWeightParts): DenseWeight {
  const byteLength = byteLengthOf(dtype, elementCount(shape, name));
  if (source.byteLength !== byteLength) {
    throw new PithError(
      'WEIGHT_BYTES_MISMATCH',
      `dense weight ${name}: [${shape.join(', ')}] of ${dtype} takes ${byteLength} bytes, got ${source.byteLength}`,
      { details: { tensor: name, shape, dtype, byteLength, sourceBytes: source.byteLength } },
    );
  }
  const { rows, columns } = matrixShape(shape, name);
  const rowBytes = byteLengthOf(dtype, columns);
  const bytes = async (start = 0, end = rows): Promise<Uint8Array> => {
    requireRows(name, start, end, rows);
    return source.read(start * rowBytes, (end - start) * rowBytes);
  };
  return Object.freeze<DenseWeight>({
    kind: 'dense',
    name,
    dtype,
    shape: Object.freeze([...shape]),
    byteLength,
    ...(source.file && { file: source.file }),
    bytes,
    toF32: async (start, end) => toF32(dtype, await bytes(start, end)),
    slice: (start, end) => {
      requireRows(name, start, end, rows);
      const part = byteRange(source, start * rowBytes, (end - start) * rowBytes);
      return denseWeight({ name, dtype, shape: [end - start, ...shape.slice(1)], source: part });
    },
  });
}
