// How many scales, zero points and bytes a quantized weight has.
import { byteLengthOf, packedByteLength, requireBits } from '../dtype/byte-length.ts';
import { PithError } from '../errors/pith-error.ts';
import type { ActivationQuantization, Granularity, ScaleDType, StoredScheme } from './weight-tensor.ts';

/**
 * Groups of a row: 1 for granularity `tensor` and `channel`, columns / size for `group`, the tiles that a row crosses for
 * `block`, of which the last may be narrower.
 *
 * @throws PithError `GROUP_SIZE_DOES_NOT_DIVIDE`
 */
export function groupsPerRow(granularity: Granularity, columns: number, name = 'weight'): number {
  if (granularity.kind === 'block') return Math.ceil(columns / granularity.columns);
  if (granularity.kind !== 'group') return 1;
  const { size } = granularity;
  if (Number.isInteger(size) && size > 0 && columns % size === 0) return columns / size;
  const text = `quantized ${name}: the group size must divide its ${columns} columns, got ${size}`;
  throw new PithError('GROUP_SIZE_DOES_NOT_DIVIDE', text, { details: { tensor: name, columns, groupSize: size } });
}

/** Scales of `rows` rows in a block of codes: one per group, or one in all for granularity `tensor`. */
export function scaleCount(granularity: Granularity, rows: number, columns: number): number {
  return granularity.kind === 'tensor' ? 1 : rows * groupsPerRow(granularity, columns);
}

/** Scales of `rows` rows as they are stored: as {@link scaleCount}, but one for each tile of granularity `block`. */
export function storedScaleCount(granularity: Granularity, rows: number, columns: number): number {
  const stored = granularity.kind === 'block' ? Math.ceil(rows / granularity.rows) : rows;
  return scaleCount(granularity, stored, columns);
}

/** Bytes of one stored scale. */
export function scaleBytes({ scaleDType }: StoredScheme): number {
  return scaleDType === 'f8_e8m0' || scaleDType === 'f8_e4m3' ? 1 : byteLengthOf(scaleDType, 1);
}

/** The dtype that restored values have in the reference library where the scales say it; bf16 under exponents, else f32. */
export function restoredDType({ scaleDType }: StoredScheme): ScaleDType {
  if (scaleDType === 'f8_e8m0') return 'bf16';
  return scaleDType === 'f8_e4m3' ? 'f32' : scaleDType;
}

/**
 * Bytes of a quantized matrix [rows, columns] as compressed-tensors stores it (`pack-quantized`, `float-quantized`, and
 * with quantized activations `int-quantized`: one byte for each code and zero point, no shape record):
 *
 * - codes: each row fills up 32-bit words, `rows * ceil(columns * bits / 32) * 4`; fp8 one byte each, fp4 half of one;
 * - scales: in their dtype; scales in f8_e4m3 with their global scale, an f32;
 * - zero points, asymmetric only: packed along the rows, `ceil(rows * bits / 32) * 4` for each group of a row, except
 *   the one of granularity `tensor`, which is a byte;
 * - the shape record of integer codes: two i64, 16 bytes;
 * - the group index, where there is one: an i32 for each column;
 * - affine codes and tables as MLX and bitsandbytes store them: packed rows, scales and biases; two codes to a byte, scales;
 * - for activations with a static scale that scale, and its zero point as a byte where there is one; with a global scale
 *   that, an f32.
 */
export function quantizedByteLength(
  scheme: StoredScheme,
  rows: number,
  columns: number,
  hasGroupIndex = false,
  activations?: ActivationQuantization,
): number {
  const { granularity } = scheme;
  const groups = groupsPerRow(granularity, columns);
  const global = scheme.scaleDType === 'f8_e4m3' && rows > 0 ? byteLengthOf('f32', 1) : 0;
  const scales = byteLengthOf('u8', scaleBytes(scheme) * storedScaleCount(granularity, rows, columns)) + global;
  const input = activations && rows > 0 ? inputBytes(scheme, activations) : 0;
  const rest = (hasGroupIndex ? byteLengthOf('i32', columns) : 0) + input;
  if (scheme.kind === 'affine') return packedByteLength(requireBits(scheme.bits), rows, columns) + 2 * scales;
  if (scheme.kind === 'table') return Math.ceil((rows * columns) / 2) + scales;
  if (scheme.kind === 'float') {
    const rowBytes = scheme.dtype === 'f4_e2m1' ? Math.ceil(columns / 2) : columns;
    return byteLengthOf('u8', rows * rowBytes) + scales + rest;
  }
  if (activations) {
    const zeros = scheme.symmetric ? 0 : scaleCount(granularity, rows, columns);
    return byteLengthOf('i8', rows * columns) + scales + zeros + rest;
  }
  const bits = requireBits(scheme.bits);
  const zeroPoints = scheme.symmetric ? 0 : granularity.kind === 'tensor' ? 1 : packedByteLength(bits, groups, rows);
  return packedByteLength(bits, rows, columns) + scales + zeroPoints + 16 + rest;
}

/** What is stored of the inputs: a static scale and its zero point, or a global scale. */
function inputBytes(scheme: StoredScheme, activations: ActivationQuantization): number {
  if (activations.kind === 'token-dynamic') return 0;
  if (activations.kind === 'group-dynamic') return activations.scaleDType === 'f8_e4m3' ? byteLengthOf('f32', 1) : 0;
  return byteLengthOf(restoredDType(scheme), 1) + (activations.symmetric ? 0 : 1);
}
