// The specification of restoring: codes back to values, one at a time. Tests hold the kernels (restore.ts) to it.
import { fromF32, toF32 } from '../dtype/convert.ts';
import { e2m1ToF32 } from '../dtype/micro-formats.ts';
import { groupsPerRow } from './quantized-layout.ts';
import { requireBlock } from './require-block.ts';
import { restoreAffine, restoreTable } from './restore-offsets.ts';
import type { CodeBlock, FloatScheme, StoredScheme } from './weight-tensor.ts';

/**
 * The values [rows, columns] of a block of codes: `(code - zeroPoint) * scale`, rounded once, to the dtype of the
 * scales (compressed-tensors computes in it: with bf16 scales the values are bf16 values), or to f32 where the scales are
 * of 8 bits.
 *
 * In f64 a product of a code of at most 9 significant bits and a scale of 24 is exact, so that storing it as f32 is the
 * one rounding; with f16 and bf16 scales it is exact in f32 too, and rounded after.
 *
 * @param groupIndex group of each column; columns in order when left out
 * @throws PithError `QUANTIZED_BLOCK_MALFORMED` when codes, scales or zero points are too few or too many
 */
export function restoreReference(
  block: CodeBlock,
  scheme: StoredScheme,
  rows: number,
  columns: number,
  groupIndex?: Int32Array,
): Float32Array {
  requireBlock(block, scheme, rows, columns);
  if (scheme.kind === 'affine') return restoreAffine(block, scheme, rows, columns);
  if (scheme.kind === 'table') return restoreTable(block, scheme, rows, columns);
  const { scales, zeroPoints } = block;
  const groups = groupsPerRow(scheme.granularity, columns);
  const size = scheme.granularity.kind === 'block' ? scheme.granularity.columns : columns / groups;
  const codes = scheme.kind === 'float' ? floatCodes(scheme, block.codes) : block.codes;
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
      const end = start + Math.min(columns, (group + 1) * size);
      for (let i = start + group * size; i < end; i++) values[i] = (codes[i]! - zeroPoint) * scale;
    }
  }
  if (scheme.scaleDType !== 'bf16' && scheme.scaleDType !== 'f16') return values;
  return toF32(scheme.scaleDType, fromF32(scheme.scaleDType, values), values);
}

function floatCodes({ dtype }: FloatScheme, codes: Int8Array | Uint8Array): Float32Array {
  return dtype === 'f4_e2m1' ? e2m1ToF32(codes) : toF32(dtype, bytesOf(codes));
}

function bytesOf(codes: Int8Array | Uint8Array): Uint8Array {
  return new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength);
}
