// The search for the shrink factor with the least error: the specification of the kernels, which leave off a candidate
// early only where that cannot change the choice.
import type { QuantizationScheme, ScaleDType } from '@pith/tensor-core';
import { position, restore, roundToCode, type CodeRange, type ScaleAndZero } from '../rtn/codec.ts';
import { errorUnit, powerUnit, segmentSums } from '../rtn/error-sum.ts';
import { scaleOfRange, type ValueRange } from '../rtn/scale.ts';
import { power } from './power.ts';
import type { LpRange, MseRange } from './range.ts';

const { fround } = Math;

/** The shrink factors of a search as f32, from 1 down: `1 - i * (1 - smallest) / candidates`. */
export function shrinkFactors({ candidates, smallest }: MseRange | LpRange): Float32Array {
  return Float32Array.from({ length: candidates }, (_, i) => 1 - (i * (1 - smallest)) / candidates);
}

/** The exponent of a search's norm: 2 for mean squared error. */
export function searchNorm(rule: MseRange | LpRange): number {
  return rule.kind === 'mse' ? 2 : fround(rule.norm);
}

/** The range times a factor, in f32. Asymmetric ranges shrink toward zero, which is part of them. */
export function shrink({ lowest, highest }: ValueRange, factor: number): ValueRange {
  return { lowest: fround(Math.min(lowest, 0) * factor), highest: fround(Math.max(highest, 0) * factor) };
}

/** Scales and zero points of every candidate. */
export function candidateScales(
  range: ValueRange,
  rule: MseRange | LpRange,
  scheme: QuantizationScheme,
  codes: CodeRange,
  arithmetic: ScaleDType,
  globalScale = 1,
): ScaleAndZero[] {
  const factors = [...shrinkFactors(rule)];
  return factors.map((factor) => scaleOfRange(shrink(range, factor), scheme, codes, arithmetic, globalScale));
}

/**
 * Sum of |restored - value|^norm in units of a power of two near `magnitude`, the largest magnitude of all values that
 * share the scale.
 */
export function candidateError(
  values: Float32Array,
  magnitude: number,
  candidate: ScaleAndZero,
  norm: number,
  scheme: QuantizationScheme,
  codes: CodeRange,
  arithmetic: ScaleDType,
): number {
  const unit = norm === 2 ? errorUnit(magnitude) : powerUnit(magnitude);
  const sums = segmentSums(values.length, (i) => {
    const code = roundToCode(position(values[i]!, candidate, scheme, arithmetic), scheme, codes);
    const error = fround(fround(restore(code, candidate) - values[i]!) * unit);
    return norm === 2 ? fround(error * error) : power(Math.abs(error), norm);
  });
  return sums.reduce((total, sum) => total + sum, 0);
}

/** The index of the least error, the first of equals; 0 where none is a number. */
export function leastError(errors: ArrayLike<number>): number {
  let best = 0;
  let least = Infinity;
  for (let i = 0; i < errors.length; i += 1) {
    if (errors[i]! < least) {
      best = i;
      least = errors[i]!;
    }
  }
  return best;
}
