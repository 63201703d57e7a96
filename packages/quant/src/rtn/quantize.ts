// Rounding to nearest on plain arrays, one value at a time: slow, exact, and the specification of the kernels
// (tensor-core/assembly/quantize.ts), which give the same codes, scales, zero points and error sums bit for bit.
//
// Rules: compressed-tensors 0.19 and llm-compressor 0.14 (memoryless_minmax), see `scale.ts` and `codec.ts`.
import {
  groupsPerRow,
  PithError,
  restore as restoreBlock,
  type QuantizationScheme,
  type ScaleDType,
} from '@pith/tensor-core';
import { extremesOf, measureRange } from '../range/measure.ts';
import type { RangeRule } from '../range/range.ts';
import { candidateError, candidateScales, leastError, searchNorm } from '../range/search.ts';
import type { QuantizableDType } from '../scheme/resolve-scheme.ts';
import { arithmeticDType } from './arithmetic.ts';
import { codeByte, codeRange, position, restore, roundToCode, type CodeRange, type ScaleAndZero } from './codec.ts';
import { errorUnit, segmentSums } from './error-sum.ts';
import { globalScaleOf, scaleOfRange } from './scale.ts';

/** A matrix of f32 values that came from `dtype` (each value is one that the dtype can hold). */
export interface DenseMatrix {
  /** [rows, columns] row-major; finite. */
  readonly values: Float32Array;
  /** Output channels, input channels. */
  readonly shape: readonly [rows: number, columns: number];
  /** What the weight is stored in. */
  readonly dtype: QuantizableDType;
}

/** Codes, scales and zero points of a matrix, unpacked. */
export interface QuantizedMatrix {
  /** Output channels, input channels. */
  readonly shape: readonly [rows: number, columns: number];
  /** How it is coded. */
  readonly scheme: QuantizationScheme;
  /** [rows, columns], one stored byte per weight: two's complement or the bits of the float. */
  readonly codes: Uint8Array;
  /**
   * What codes are multiplied by: [rows, groups per row], or one value for granularity `tensor`; of tiles once for each row
   * that they reach over.
   */
  readonly scales: Float32Array;
  /** Like the scales; absent for symmetric and float schemes. */
  readonly zeroPoints?: Int8Array;
  /** What stored scales in e4m3 are divided by; present with them only. */
  readonly globalScale?: number;
}

/** Sums over one row, from which the error of a weight is made. */
export interface RowError {
  /** Sum of squared differences. */
  sumSquaredError: number;
  /** Sum of the squares of the values. */
  sumSquares: number;
  /** Largest |difference|. */
  maxAbsError: number;
  /** Values more than a step outside the codes. */
  clipped: number;
  /** Groups whose scale came out as 0. */
  zeroScales: number;
}

/** A quantized matrix and what that cost. */
export interface RoundedMatrix extends QuantizedMatrix {
  /** Sums of each row. */
  readonly rowErrors: readonly RowError[];
}

/**
 * Rounds a matrix to nearest.
 *
 * @param globalScale With scales in e4m3; that of this matrix alone when left out.
 * @throws PithError `SCALE_OVERFLOW` where a scale is too large for its dtype.
 */
export function quantize(
  matrix: DenseMatrix,
  scheme: QuantizationScheme,
  rule: RangeRule,
  globalScale = scheme.scaleDType === 'f8_e4m3'
    ? globalScaleOf(extremesOf(matrix.values).magnitude, matrix.dtype)
    : undefined,
): RoundedMatrix {
  const { values, shape, dtype } = matrix;
  const [rows, columns] = shape;
  const arithmetic = arithmeticDType(dtype, scheme.scaleDType);
  const codes = codeRange(scheme);
  const perRow = groupsPerRow(scheme.granularity, columns);
  const size = scheme.granularity.kind === 'block' ? scheme.granularity.columns : columns / perRow;
  const perTensor = scheme.granularity.kind === 'tensor';
  const choose = (of: Float32Array, width: number) =>
    chooseScale(of, width, scheme, rule, codes, arithmetic, globalScale);
  const shared = perTensor ? choose(values, columns) : undefined;
  if (shared) requireFinite(shared, scheme, 0);
  let tiles: { readonly scale: ScaleAndZero; readonly magnitude: number }[] = [];

  const result = new Uint8Array(rows * columns);
  const scales = new Float32Array(perTensor ? 1 : rows * perRow);
  const zeroPoints = new Int8Array(scales.length);
  const rowErrors: RowError[] = [];
  for (let row = 0; row < rows; row += 1) {
    const error: RowError = { sumSquaredError: 0, sumSquares: 0, maxAbsError: 0, clipped: 0, zeroScales: 0 };
    const { granularity } = scheme;
    const tileStart = granularity.kind === 'block' && row % granularity.rows === 0;
    if (granularity.kind === 'block' && tileStart) {
      tiles = Array.from({ length: perRow }, (_, i) => {
        const tile = tileOf(matrix, row, granularity.rows, i * size, size);
        return { scale: choose(tile.values, tile.columns), magnitude: extremesOf(tile.values).magnitude };
      });
    }
    for (let group = 0; group < perRow; group += 1) {
      const start = row * columns + group * size;
      const end = Math.min(start + size, (row + 1) * columns);
      const slice = values.subarray(start, end);
      const chosen = shared ?? tiles[group]?.scale ?? choose(slice, size);
      const index = perTensor ? 0 : row * perRow + group;
      requireFinite(chosen, scheme, row);
      scales[index] = chosen.scale;
      zeroPoints[index] = chosen.zeroPoint;
      const first = perTensor ? row === 0 : granularity.kind !== 'block' || tileStart;
      if (chosen.zeroScale && first) error.zeroScales += 1;
      const unit = errorUnit(tiles[group]?.magnitude ?? extremesOf(slice).magnitude);
      quantizeGroup(slice, unit, chosen, scheme, codes, arithmetic, result.subarray(start, end), error);
    }
    rowErrors.push(error);
  }
  const asymmetric = scheme.kind === 'int' && !scheme.symmetric;
  return {
    ...{ shape, scheme, codes: result, scales, rowErrors },
    ...(asymmetric ? { zeroPoints } : {}),
    ...(globalScale === undefined ? {} : { globalScale }),
  };
}

/** The values of a tile, row after row, cut off at the edges of the matrix. */
function tileOf({ values, shape }: DenseMatrix, firstRow: number, rows: number, firstColumn: number, columns: number) {
  const width = Math.min(columns, shape[1] - firstColumn);
  const height = Math.min(rows, shape[0] - firstRow);
  const tile = new Float32Array(width * height);
  for (let row = 0; row < height; row += 1) {
    const start = (firstRow + row) * shape[1] + firstColumn;
    tile.set(values.subarray(start, start + width), row * width);
  }
  return { values: tile, columns: width };
}

/**
 * Restores the values f32 [rows, columns]: `(code - zeroPoint) * scale`, rounded to the dtype of the scales as
 * compressed-tensors does. Errors are counted before that rounding, which runtimes leave out or do elsewhere.
 */
export function dequantize({ shape, scheme, codes, scales, zeroPoints }: QuantizedMatrix): Float32Array {
  const signed = scheme.kind === 'int' ? new Int8Array(codes.buffer, codes.byteOffset, codes.length) : codes;
  return restoreBlock({ codes: signed, scales, ...(zeroPoints ? { zeroPoints } : {}) }, scheme, ...shape);
}

/** The scale of the values that share it; `columns` is the length of a row of them, which sums restart at. */
function chooseScale(
  values: Float32Array,
  columns: number,
  scheme: QuantizationScheme,
  rule: RangeRule,
  codes: CodeRange,
  arithmetic: ScaleDType,
  globalScale: number | undefined,
): ScaleAndZero {
  const symmetric = scheme.kind === 'float' || scheme.symmetric;
  const range = measureRange(values, columns, rule, symmetric);
  if (rule.kind !== 'mse' && rule.kind !== 'lp') return scaleOfRange(range, scheme, codes, arithmetic, globalScale);
  const { magnitude } = extremesOf(values);
  const candidates = candidateScales(range, rule, scheme, codes, arithmetic, globalScale);
  const errors = candidates.map((candidate) => {
    let sum = 0;
    for (let start = 0; start < values.length; start += columns) {
      const row = values.subarray(start, start + columns);
      sum += candidateError(row, magnitude, candidate, searchNorm(rule), scheme, codes, arithmetic);
    }
    return sum;
  });
  return candidates[leastError(errors)]!;
}

/** Writes the codes of one group and adds its errors, squared in units, to the row's. */
function quantizeGroup(
  values: Float32Array,
  unit: number,
  chosen: ScaleAndZero,
  scheme: QuantizationScheme,
  codes: CodeRange,
  arithmetic: ScaleDType,
  target: Uint8Array,
  row: RowError,
): void {
  const { fround } = Math;
  const errorSquares = new Float32Array(values.length);
  for (let i = 0; i < values.length; i += 1) {
    const code = roundToCode(position(values[i]!, chosen, scheme, arithmetic), scheme, codes);
    target[i] = codeByte(code, scheme);
    errorSquares[i] = fround(fround(restore(code, chosen) - values[i]!) * unit) ** 2;
    // Without the rounding of the arithmetic: a value at the end of the range must not count because of it.
    const exact = fround(fround(values[i]! / chosen.scale) + chosen.zeroPoint);
    if (exact > codes.highest + codes.reach || exact < codes.lowest - codes.reach) row.clipped += 1;
  }
  for (const sum of segmentSums(values.length, (i) => errorSquares[i]!)) row.sumSquaredError += sum / unit / unit;
  for (const sum of segmentSums(values.length, (i) => fround(fround(values[i]! * unit) ** 2))) {
    row.sumSquares += sum / unit / unit;
  }
  const largest = errorSquares.reduce((a, b) => Math.max(a, b), 0);
  row.maxAbsError = Math.max(row.maxAbsError, fround(fround(Math.sqrt(largest)) / unit));
}

function requireFinite({ scale }: ScaleAndZero, { scaleDType }: QuantizationScheme, row: number): void {
  if (Number.isFinite(scale)) return;
  throw new PithError(
    'SCALE_OVERFLOW',
    `quantize: the scale of row ${row} must be finite in ${scaleDType}, got ${scale}; store scales in f32 or bf16`,
    { details: { row, scaleDType } },
  );
}
