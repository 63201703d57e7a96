// The tensors that a quantized weight is stored as: codes, scales, zero points. Shapes and bytes are known before any
// value is read, so that a plan can show them and threads can write at known places.
//
// Layouts are those of compressed-tensors 0.19: see `storage` of a Scheme.
import { groupsPerRow, scaleBytes, storedScaleCount, type DType, type QuantizationScheme } from '@pith/tensor-core';
import type { CodeStorage } from '../scheme/scheme.ts';

/** Which tensor of a quantized weight. */
export type PieceName = 'codes' | 'scales' | 'zeroPoints' | 'globalScale';

/** One stored tensor of a quantized weight. */
export interface Piece {
  /** Which one. */
  readonly piece: PieceName;
  /**
   * `i32` for packed words, `i8`, `f8_e4m3` or `f8_e5m2` for bytes, `u8` for codes of e2m1; the scale dtype for scales, `u8`
   * for exponents.
   */
  readonly dtype: DType;
  /**
   * codes: [rows, ceil(columns * bits / 32)] packed, of e2m1 [rows, ceil(columns / 2)], or [rows, columns] in bytes; scales:
   * [rows, groups per row], or [1] for one scale per tensor, or [tiles down, tiles across]; globalScale: [1]; zeroPoints: int8 like the scales, or packed along the rows: int32
   * [ceil(rows * bits / 32), groups per row].
   */
  readonly shape: readonly number[];
  /** Exact bytes. */
  readonly byteLength: number;
}

/**
 * The tensors that hold a weight [rows, columns] under a scheme, in the order codes, scales, zeroPoints, globalScale. The scheme
 * must fit the shape (see `fitScheme`).
 */
export function quantizedPieces(
  shape: readonly [rows: number, columns: number],
  scheme: QuantizationScheme,
  storage: CodeStorage,
): readonly Piece[] {
  const [rows, columns] = shape;
  const groups = groupsPerRow(scheme.granularity, columns);
  const perTensor = scheme.granularity.kind === 'tensor';
  const scaleShape = perTensor ? [1] : [storedScaleCount(scheme.granularity, rows, columns) / groups, groups];
  const pieces: Piece[] = [codesPiece(rows, columns, scheme, storage)];
  const scaleDType = scheme.scaleDType === 'f8_e8m0' ? 'u8' : scheme.scaleDType;
  pieces.push(piece('scales', scaleDType, scaleShape, scaleBytes(scheme)));
  if (scheme.kind === 'int' && !scheme.symmetric) {
    const packed = storage === 'packed' && !perTensor;
    const words = Math.ceil((rows * scheme.bits) / 32);
    if (packed) pieces.push(piece('zeroPoints', 'i32', [words, groups], 4));
    else pieces.push(piece('zeroPoints', 'i8', scaleShape, 1));
  }
  if (scheme.scaleDType === 'f8_e4m3') pieces.push(piece('globalScale', 'f32', [1], 4));
  return pieces;
}

function codesPiece(rows: number, columns: number, scheme: QuantizationScheme, storage: CodeStorage): Piece {
  if (scheme.kind === 'float') {
    if (scheme.dtype !== 'f4_e2m1') return piece('codes', scheme.dtype, [rows, columns], 1);
    return piece('codes', 'u8', [rows, storage === 'packed' ? Math.ceil(columns / 2) : columns], 1);
  }
  if (storage === 'bytes') return piece('codes', 'i8', [rows, columns], 1);
  return piece('codes', 'i32', [rows, Math.ceil((columns * scheme.bits) / 32)], 4);
}

function piece(name: PieceName, dtype: DType, shape: readonly number[], bytesPerValue: number): Piece {
  return { piece: name, dtype, shape, byteLength: shape.reduce((product, length) => product * length, bytesPerValue) };
}
