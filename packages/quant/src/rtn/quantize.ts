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
import { scaleOfRange } from './scale.ts';

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
  /** [rows, groups per row], or one value for granularity `tensor`; f32 values that the scale dtype can hold. */
  readonly scales: Float32Array;
  /** Like the scales; absent for symmetric and float schemes. */
  readonly zeroPoints?: Int8Array;
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
 * @throws PithError `SCALE_OVERFLOW` where a scale is too large for its dtype.
 */
export function quantize(matrix: DenseMatrix, scheme: QuantizationScheme, rule: RangeRule): RoundedMatrix {
  const { values, shape, dtype } = matrix;
  const [rows, columns] = shape;
  const arithmetic = arithmeticDType(dtype, scheme.scaleDType);
  const codes = codeRange(scheme);
  const perRow = groupsPerRow(scheme.granularity, columns);
  const size = columns / perRow;
  const perTensor = scheme.granularity.kind === 'tensor';
  const shared = perTensor ? chooseScale(values, columns, scheme, rule, codes, arithmetic) : undefined;
  if (shared) requireFinite(shared, scheme, 0);

  const result = new Uint8Array(rows * columns);
  const scales = new Float32Array(perTensor ? 1 : rows * perRow);
  const zeroPoints = new Int8Array(scales.length);
  const rowErrors: RowError[] = [];
  for (let row = 0; row < rows; row += 1) {
    const error: RowError = { sumSquaredError: 0, sumSquares: 0, maxAbsError: 0, clipped: 0, zeroScales: 0 };
    for (let group = 0; group < perRow; group += 1) {
      const start = row * columns + group * size;
      const slice = values.subarray(start, start + size);
      const chosen = shared ?? chooseScale(slice, size, scheme, rule, codes, arithmetic);
      const index = perTensor ? 0 : row * perRow + group;
      requireFinite(chosen, scheme, row);
      scales[index] = chosen.scale;
      zeroPoints[index] = chosen.zeroPoint;
      if (chosen.zeroScale && (!perTensor || row === 0)) error.zeroScales += 1;
      quantizeGroup(slice, chosen, scheme, codes, arithmetic, result.subarray(start, start + size), error);
    }
    rowErrors.push(error);
  }
  const asymmetric = scheme.kind === 'int' && !scheme.symmetric;
  return { shape, scheme, codes: result, scales, ...(asymmetric ? { zeroPoints } : {}), rowErrors };
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
): ScaleAndZero {
  const symmetric = scheme.kind === 'float' || scheme.symmetric;
  const range = measureRange(values, columns, rule, symmetric);
  if (rule.kind !== 'mse' && rule.kind !== 'lp') return scaleOfRange(range, scheme, codes, arithmetic);
  const { magnitude } = extremesOf(values);
  const candidates = candidateScales(range, rule, scheme, codes, arithmetic);
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

/** Writes the codes of one group and adds its errors to the row's. */
function quantizeGroup(
  values: Float32Array,
  chosen: ScaleAndZero,
  scheme: QuantizationScheme,
  codes: CodeRange,
  arithmetic: ScaleDType,
  target: Uint8Array,
  row: RowError,
): void {
  const { fround } = Math;
  const unit = errorUnit(extremesOf(values).magnitude);
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
