// Codes back to values, with the rounding of compressed-tensors' decompression.
import { fromF32, toF32 } from '../dtype/convert.ts';
import { PithError } from '../errors/pith-error.ts';
import { groupsPerRow } from './quantized-layout.ts';
import type { CodeBlock, QuantizationScheme } from './weight-tensor.ts';

/**
 * The values [rows, columns] of a block of codes: `(code - zeroPoint) * scale`, rounded once, to the dtype of the
 * scales (compressed-tensors computes in it: with bf16 scales the values are bf16 values).
 *
 * In f64 a product of a code of at most 9 significant bits and a scale of 24 is exact, so that storing it as f32 is the
 * one rounding; with f16 and bf16 scales it is exact in f32 too, and rounded after.
 *
 * @param groupIndex group of each column; columns in order when left out
 * @throws PithError `QUANTIZED_BLOCK_MALFORMED` when codes, scales or zero points are too few or too many
 */
export function restore(
  block: CodeBlock,
  scheme: QuantizationScheme,
  rows: number,
  columns: number,
  groupIndex?: Int32Array,
): Float32Array {
  requireBlock(block, scheme, rows, columns);
  const { scales, zeroPoints } = block;
  const groups = groupsPerRow(scheme.granularity, columns);
  const size = columns / groups;
  const codes = scheme.kind === 'float' ? toF32(scheme.dtype, bytesOf(block.codes)) : block.codes;
  const values = new Float32Array(rows * columns);
  const onlyOne = scheme.granularity.kind === 'tensor';
  for (let row = 0; row < rows; row++) {
    const base = onlyOne ? 0 : row * groups;
    const start = row * columns;
    if (groupIndex !== undefined) {
      for (let column = 0; column < columns; column++) {
        const at = base + groupIndex[column]!;
        values[start + column] = (codes[start + column]! - (zeroPoints?.[at] ?? 0)) * scales[at]!;
      }
      continue;
    }
    for (let group = 0; group < groups; group++) {
      const scale = scales[base + group]!;
      const zeroPoint = zeroPoints?.[base + group] ?? 0;
      const end = start + (group + 1) * size;
      for (let i = end - size; i < end; i++) values[i] = (codes[i]! - zeroPoint) * scale;
    }
  }
  if (scheme.scaleDType === 'f32') return values;
  return toF32(scheme.scaleDType, fromF32(scheme.scaleDType, values), values);
}

/** Throws `QUANTIZED_BLOCK_MALFORMED` unless a block has the codes, scales and zero points of its rows. */
export function requireBlock(block: CodeBlock, scheme: QuantizationScheme, rows: number, columns: number): void {
  const scales = scheme.granularity.kind === 'tensor' ? 1 : rows * groupsPerRow(scheme.granularity, columns);
  const zeroPoints = scheme.kind === 'int' && !scheme.symmetric ? scales : undefined;
  const problems = [
    block.codes.length === rows * columns ? '' : `${rows * columns} codes, got ${block.codes.length}`,
    block.scales.length === scales ? '' : `${scales} scales, got ${block.scales.length}`,
    block.zeroPoints?.length === zeroPoints
      ? ''
      : `${zeroPoints ?? 'no'} zero points, got ${block.zeroPoints?.length ?? 'none'}`,
  ].filter((problem) => problem !== '');
  if (problems.length === 0) return;
  throw new PithError(
    'QUANTIZED_BLOCK_MALFORMED',
    `quantized block: ${rows} rows of ${columns} columns take ${problems.join('; ')}`,
    { details: { rows, columns, scheme, problems } },
  );
}

function bytesOf(codes: Int8Array | Uint8Array): Uint8Array {
  return new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength);
}
