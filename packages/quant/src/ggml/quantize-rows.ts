// Rows in memory to ggml's blocks.
import { PithError } from '@pith/tensor-core';
import { BLOCK_TYPES, quantizeBlocks } from './quantize-blocks.ts';
import type { GgmlWritableType } from './ggml-types.ts';

/** Every type that can be written. */
export const GGML_WRITABLE_TYPES: readonly GgmlWritableType[] = ['f32', ...BLOCK_TYPES];

/**
 * Codes rows as ggml does, byte for byte.
 *
 * @param values f32 [rows, columns] row-major, all finite.
 * @param columns a multiple of the type's block: 32, or 256 for the k-quants, IQ4_XS, TQ1_0 and TQ2_0.
 * @param importance f32 [columns]: how much an error in each column counts; all alike when left out.
 * @returns the blocks of the rows, one row after the other.
 * @throws PithError `BLOCK_DOES_NOT_DIVIDE`, `IMPORTANCE_INVALID`, `WEIGHT_NOT_FINITE`.
 */
export function quantizeGgmlRows(
  type: GgmlWritableType,
  values: Float32Array,
  columns: number,
  importance?: Float32Array,
): Uint8Array {
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) {
    throw new PithError(
      'WEIGHT_NOT_FINITE',
      `quantize to ${type}: values must be finite, got ${values[wrong]} at row ${Math.floor(wrong / columns)}, column ${wrong % columns}`,
      { details: { row: Math.floor(wrong / columns), column: wrong % columns, value: String(values[wrong]) } },
    );
  }
  if (type === 'f32') return new Uint8Array(values.slice().buffer);
  return quantizeBlocks(type, values, columns, importance);
}
