// The specification of the kernel that chooses scales of columns (tensor-core/assembly/column-scales.ts), one row at a time.
//
// As rounding to nearest chooses scales (rtn/scale.ts, range/search.ts) with three differences that the transposed layout
// and the column sweep bring: all arithmetic is f32, as the sweep's; errors of a search are weighted by column; and they
// are added in the order of the columns, in f32 within segments of 128 columns, in f64 beyond.
import { roundHalfToEven, type IntegerScheme } from '@pith/tensor-core';
import { power } from '../range/power.ts';
import { codeRange } from '../rtn/codec.ts';
import { powerUnit } from '../rtn/error-sum.ts';
import { scaleOfRange } from '../rtn/scale.ts';

const { fround } = Math;
/** Columns whose errors are added in f32. */
const SEGMENT_COLUMNS = 128;

/** How the scale of a span of columns is searched for. */
export interface ScaleSearch {
  /** Coding: bits, symmetry, dtype of the scales. */
  readonly scheme: IntegerScheme;
  /** Asymmetric ranges are `[-a, a]` too. */
  readonly absolute: boolean;
  /** f32 shrink factors of the range, from 1 down; one: the range as it is. */
  readonly factors: Float32Array;
  /** Exponent of the errors, an f32. */
  readonly norm: number;
}

/** A scale and a zero point of one row. */
export interface RowScale {
  readonly scale: number;
  readonly zeroPoint: number;
}

/**
 * The scale of one row of a span: of all shrink factors the one with the least sum of importance * |error|^norm, the first
 * of equals.
 *
 * @param values f32 [columns] of the span.
 * @param importance f32 [columns]; all alike when left out.
 */
export function rowScaleReference(values: Float32Array, search: ScaleSearch, importance?: Float32Array): RowScale {
  const { scheme, absolute, factors, norm } = search;
  const codes = codeRange(scheme);
  let lowest = Math.min(0, ...values);
  let highest = Math.max(0, ...values);
  const magnitude = Math.max(-lowest, highest);
  if (scheme.symmetric || absolute) [lowest, highest] = [-magnitude, magnitude];
  const unit = powerUnit(magnitude);
  let best: RowScale | undefined;
  let least = Infinity;
  for (const factor of factors) {
    const range = { lowest: fround(lowest * factor), highest: fround(highest * factor) };
    const { scale, zeroPoint } = scaleOfRange(range, scheme, codes, 'f32');
    best ??= { scale, zeroPoint };
    if (factors.length === 1) return best;
    const inUnits = fround(scale * unit);
    const inverse = fround(1 / inUnits);
    let sum = 0;
    for (let start = 0; start < values.length; start += SEGMENT_COLUMNS) {
      let segment = 0;
      for (let j = start; j < Math.min(values.length, start + SEGMENT_COLUMNS); j++) {
        const x = fround(values[j]! * unit);
        const code = roundHalfToEven(fround(x * inverse));
        const shifted = Math.max(Math.min(code, codes.highest - zeroPoint), codes.lowest - zeroPoint);
        const error = fround(fround(shifted * inUnits) - x);
        const term = norm === 2 ? fround(error * error) : power(Math.abs(error), norm);
        segment = fround(segment + (importance ? fround(term * importance[j]!) : term));
      }
      sum += segment;
    }
    if (sum < least) {
      best = { scale, zeroPoint };
      least = sum;
    }
  }
  return best!;
}
