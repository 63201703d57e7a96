// Codes back to values: `(code - zeroPoint) * scale`, each product rounded once to f32. A product of a small integer or
// an fp8 value and an f32 scale is exact in f64, so that storing it in a Float32Array is that one rounding.
import { toF32, type CodeBlock, type QuantizationScheme } from '@pith/tensor-core';

/** Restores a block [rows, columns] to f32. */
export function restoreF32(block: CodeBlock, scheme: QuantizationScheme, rows: number, columns: number): Float32Array {
  const { codes, scales, zeroPoints } = block;
  const { granularity } = scheme;
  const size = granularity.kind === 'group' ? granularity.size : columns;
  const groups = columns / size;
  const values = scheme.kind === 'float' ? toF32(scheme.dtype, codes as Uint8Array) : codes;
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    for (let group = 0; group < groups; group += 1) {
      const at = granularity.kind === 'tensor' ? 0 : row * groups + group;
      const scale = scales[at]!;
      const zero = zeroPoints === undefined ? 0 : zeroPoints[at]!;
      const end = row * columns + (group + 1) * size;
      for (let i = end - size; i < end; i += 1) result[i] = (values[i]! - zero) * scale;
    }
  }
  return result;
}
