// Tensors in the numbers that the kernels take (tensor-core/assembly/ggml.ts).
import { GGML_TYPES } from '@pith/checkpoint';
import { elementCount, PithError } from '@pith/tensor-core';
import type { GgmlWritableType } from './ggml-types.ts';

/** Bytes of the sums of one row. */
export const ROW_ERROR_BYTES = 32;

/** Numbers of dtypes. */
export const DTYPE_NUMBER = { f32: 0, f16: 1, bf16: 2 } as const;

/** Bytes of scratch of `ggmlQuantizeRows`, as `ggmlScratchBytes` of the kernels says; a test holds the two together. */
export function ggmlScratchBytes(columns: number): number {
  return 11584 + 4 * columns + 1024;
}

/** Types whose codes follow from values alone. */
const WITHOUT_IMPORTANCE: readonly GgmlWritableType[] = ['f32', 'f16', 'bf16', 'q8_0', 'mxfp4', 'tq1_0', 'tq2_0'];

/** True for types that importance changes. */
export function looksAtImportance(type: GgmlWritableType): boolean {
  return !WITHOUT_IMPORTANCE.includes(type);
}

/** Types that ggml does not quantize without importance: what they leave of a value is so little that it has to be known which count. */
const WITH_IMPORTANCE: readonly GgmlWritableType[] = ['iq2_xxs', 'iq2_xs', 'iq1_s'];

/** True for types that cannot be written without importance. */
export function needsImportance(type: GgmlWritableType): boolean {
  return WITH_IMPORTANCE.includes(type);
}

/**
 * Bytes of a tensor's blocks.
 *
 * @param shape outermost axis first.
 * @throws PithError `BLOCK_DOES_NOT_DIVIDE` where the last axis is no multiple of the type's block.
 */
export function ggmlByteLength(type: GgmlWritableType, shape: readonly number[], name = 'a tensor'): number {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const columns = shape.at(-1) ?? 1;
  if (columns % blockSize !== 0) {
    throw new PithError(
      'BLOCK_DOES_NOT_DIVIDE',
      `quantize ${name} to ${type}: the columns must be a multiple of ${blockSize}, got ${columns}; choose a type with smaller blocks`,
      { details: { tensor: name, type, columns, blockSize } },
    );
  }
  return (elementCount(shape, name) / blockSize) * blockBytes;
}

/**
 * Refuses importance that does not fit, and none where the type cannot do without.
 *
 * @throws PithError `IMPORTANCE_INVALID`, `IMPORTANCE_MISSING`.
 */
export function checkImportance(
  name: string,
  type: GgmlWritableType,
  columns: number,
  importance: Float32Array | undefined,
): void {
  if (importance === undefined) {
    if (!needsImportance(type)) return;
    throw new PithError(
      'IMPORTANCE_MISSING',
      `quantize ${name}: ${type} needs importance, a number for each column, got none; measure it (--calibration or --imatrix), or choose iq3_s or a larger type`,
      { details: { tensor: name, type } },
    );
  }
  const wrong = importance.findIndex((weight) => !(weight >= 0 && weight < Infinity));
  if (importance.length === columns && wrong < 0) return;
  const got = wrong < 0 ? `${importance.length} numbers` : `${importance[wrong]} for column ${wrong}`;
  throw new PithError(
    'IMPORTANCE_INVALID',
    `quantize ${name}: importance must be ${columns} numbers from 0 on, one for each column, got ${got}; measure it again`,
    { details: { tensor: name, columns, length: importance.length, ...(wrong < 0 ? {} : { column: wrong }) } },
  );
}

/**
 * Refuses an order that is no permutation of the rows.
 *
 * @throws PithError `ROW_ORDER_INVALID`.
 */
export function checkRowOrder(name: string, rows: number, order: Int32Array | undefined): void {
  if (order === undefined) return;
  const seen = new Uint8Array(rows);
  for (const row of order) if (row >= 0 && row < rows) seen[row] = 1;
  if (order.length === rows && !seen.includes(0)) return;
  throw new PithError(
    'ROW_ORDER_INVALID',
    `quantize ${name}: the order must name each of ${rows} rows once, got ${order.length} entries, ${seen.indexOf(0)} missing`,
    { kind: 'internal', details: { tensor: name, rows, length: order.length } },
  );
}
