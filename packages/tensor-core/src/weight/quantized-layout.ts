// How many scales, zero points and bytes a quantized weight has.
import { byteLengthOf, packedByteLength, requireBits } from '../dtype/byte-length.ts';
import { PithError } from '../errors/pith-error.ts';
import type { ActivationQuantization, Granularity, StoredScheme } from './weight-tensor.ts';

/**
 * Groups of a row: 1 for granularity `tensor` and `channel`, columns / size for `group`.
 *
 * @throws PithError `GROUP_SIZE_DOES_NOT_DIVIDE`
 */
export function groupsPerRow(granularity: Granularity, columns: number, name = 'weight'): number {
  if (granularity.kind !== 'group') return 1;
  const { size } = granularity;
  if (Number.isInteger(size) && size > 0 && columns % size === 0) return columns / size;
  const text = `quantized ${name}: the group size must divide its ${columns} columns, got ${size}`;
  throw new PithError('GROUP_SIZE_DOES_NOT_DIVIDE', text, { details: { tensor: name, columns, groupSize: size } });
}

/** Scales of `rows` rows: one per group, or one in all for granularity `tensor`. */
export function scaleCount(granularity: Granularity, rows: number, columns: number): number {
  return granularity.kind === 'tensor' ? 1 : rows * groupsPerRow(granularity, columns);
}

/**
 * Bytes of a quantized matrix [rows, columns] as compressed-tensors stores it (`pack-quantized`, `float-quantized`, and
 * with quantized activations `int-quantized`: one byte for each code and zero point, no shape record):
 *
 * - codes: each row fills up 32-bit words, `rows * ceil(columns * bits / 32) * 4`; fp8 one byte each;
 * - scales: in their dtype;
 * - zero points, asymmetric only: packed along the rows, `ceil(rows * bits / 32) * 4` for each group of a row, except
 *   the one of granularity `tensor`, which is a byte;
 * - the shape record of integer codes: two i64, 16 bytes;
 * - the group index, where there is one: an i32 for each column;
 * - affine codes and tables as MLX and bitsandbytes store them: packed rows, scales and biases; two codes to a byte, scales;
 * - for activations with a static scale that scale, and its zero point as a byte where there is one.
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
  const scales = byteLengthOf(scheme.scaleDType, scaleCount(granularity, rows, columns));
  const input = activations?.kind === 'tensor-static' && rows > 0 ? inputBytes(scheme, activations.symmetric) : 0;
  const rest = (hasGroupIndex ? byteLengthOf('i32', columns) : 0) + input;
  if (scheme.kind === 'float') return byteLengthOf('u8', rows * columns) + scales + rest;
  if (scheme.kind === 'affine') return packedByteLength(requireBits(scheme.bits), rows, columns) + 2 * scales;
  if (scheme.kind === 'table') return Math.ceil((rows * columns) / 2) + scales;
  if (activations) {
    const zeros = scheme.symmetric ? 0 : scaleCount(granularity, rows, columns);
    return byteLengthOf('i8', rows * columns) + scales + zeros + rest;
  }
  const bits = requireBits(scheme.bits);
  const zeroPoints = scheme.symmetric ? 0 : granularity.kind === 'tensor' ? 1 : packedByteLength(bits, groups, rows);
  return packedByteLength(bits, rows, columns) + scales + zeroPoints + 16 + rest;
}

/** A static scale of the inputs, and its zero point. */
function inputBytes({ scaleDType }: StoredScheme, symmetric: boolean): number {
  return byteLengthOf(scaleDType, 1) + (symmetric ? 0 : 1);
}
