// Restores codes that stand for a point between two ends (affine) or for a value of a table: the rules of MLX 0.32 and of
// bitsandbytes 0.50 on the CPU.
import { fromF32, toF32 } from '../dtype/convert.ts';
import { codeTable } from './code-table.ts';
import type { AffineScheme, CodeBlock, TableScheme } from './weight-tensor.ts';

/** `code * scale + bias`, f32 [rows, columns]: the product is rounded to the dtype of the scales, then the sum. */
export function restoreAffine(
  { codes, scales, biases }: CodeBlock,
  { granularity, scaleDType }: AffineScheme,
  rows: number,
  columns: number,
): Float32Array {
  const values = new Float32Array(rows * columns);
  const { size } = granularity;
  // In f64 the product of 8 and 24 bits is exact: storing it is the one rounding to f32.
  for (let i = 0; i < values.length; i++) values[i] = codes[i]! * scales[(i / size) | 0]!;
  const rounded = scaleDType === 'f32' ? values : toF32(scaleDType, fromF32(scaleDType, values), values);
  for (let i = 0; i < rounded.length; i++) rounded[i] = rounded[i]! + biases![(i / size) | 0]!;
  return scaleDType === 'f32' ? rounded : toF32(scaleDType, fromF32(scaleDType, rounded), rounded);
}

/** `table[code] * scale`, f32 [rows, columns]. */
export function restoreTable(
  { codes, scales }: CodeBlock,
  { granularity, table }: TableScheme,
  rows: number,
  columns: number,
): Float32Array {
  const values = new Float32Array(rows * columns);
  const levels = codeTable(table);
  const { size } = granularity;
  for (let i = 0; i < values.length; i++) values[i] = levels[codes[i]! & 15]! * scales[(i / size) | 0]!;
  return values;
}
