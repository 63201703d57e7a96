// Half-quadratic quantization (Badri & Shaji 2023, "HQQ"): the zero point of a group that makes the errors of most of its values
// small and lets those of a few be large, under a norm below 1. No data is looked at.
//
// The norm is split into a quadratic part and a shrinkage (half-quadratic splitting): errors are shrunk by the proximal step
// `sign(e) * max(|e| - |e|^(p-1) / beta, 0)`, and the zero point is the mean of what the shrunk errors leave, again and again, beta
// growing. The scale stays that of the range; of all zero points on the way the one with the least mean error counts.
//
// The authors' code differs in three things: it stops all groups of a matrix at once where the mean error of all of them rises, and
// keeps the last zero point; it counts errors in units of the weights, where a beta of 10 shrinks every error of usual weights to
// nothing, so that values beyond the range alone would be let go: here errors count in steps of the codes, with a beta that says the
// same, and a rescaled model gets the same codes; and it finds codes before scales and zero points are rounded to what is stored.
import { roundHalfToEven } from '@pith/tensor-core';

/** How `solveGroup` searches. */
export interface HqqSearch {
  /** Exponent of the norm, above 0, at most 1. */
  readonly norm: number;
  /** Weight of the quadratic part at the start, with errors in steps of the codes: errors above beta^(-1/(2 - norm)) are let go. */
  readonly beta: number;
  /** What beta is multiplied by from one iteration to the next. */
  readonly growth: number;
  /** Most iterations. */
  readonly iterations: number;
}

/** The published settings, but for the unit of beta. */
export const HQQ_SEARCH: HqqSearch = Object.freeze({ norm: 0.7, beta: 1, growth: 1.01, iterations: 20 });

/** A scale and the code, not always a whole one, that stands for 0: `value = (code - zero) * scale`. */
export interface ScaleAndZero {
  /** Positive. */
  readonly scale: number;
  /** In codes from 0. */
  readonly zero: number;
}

/**
 * The scale and zero point of values that share them.
 *
 * @param values finite; at least one.
 * @param levels codes: 2^bits.
 */
export function solveGroup(values: Float32Array, levels: number, search: HqqSearch): ScaleAndZero {
  let lowest = values[0]!;
  let highest = lowest;
  for (const value of values) {
    if (value < lowest) lowest = value;
    if (value > highest) highest = value;
  }
  const top = levels - 1;
  // Values that are all alike are that value: code 0 or the last, by its sign.
  if (highest === lowest) return alike(lowest, top);
  const scale = (highest - lowest) / top;
  const positions = Float64Array.from(values, (value) => value / scale);
  let zero = -lowest / scale;
  let best = zero;
  let least = Infinity;
  let beta = search.beta;
  for (let i = 0; i < search.iterations; i += 1, beta *= search.growth) {
    const step = improve(positions, zero, top, beta, search.norm);
    if (step.error < least) {
      least = step.error;
      best = zero;
    }
    // The codes stay as they are.
    if (step.zero === zero) break;
    zero = step.zero;
  }
  return { scale, zero: best };
}

function alike(value: number, top: number): ScaleAndZero {
  if (value === 0) return { scale: 1, zero: 0 };
  return { scale: Math.abs(value) / top, zero: value > 0 ? 0 : top };
}

/** Sum of |error| in steps under a zero point, and the zero point that fits its codes, errors that are let go left out. */
function improve(positions: Float64Array, zero: number, top: number, beta: number, norm: number) {
  // Below this the proximal step gives 0.
  const bound = beta ** (-1 / (2 - norm));
  let error = 0;
  let sum = 0;
  for (let i = 0; i < positions.length; i += 1) {
    const position = positions[i]!;
    const code = codeOf(position, zero, top);
    const difference = position - (code - zero);
    const magnitude = Math.abs(difference);
    error += magnitude;
    sum += code - position;
    if (magnitude > bound) sum += Math.sign(difference) * (magnitude - magnitude ** (norm - 1) / beta);
  }
  return { error, zero: sum / positions.length };
}

/** The nearest code. */
export function codeOf(position: number, zero: number, top: number): number {
  const code = roundHalfToEven(position + zero);
  return code < 0 ? 0 : code > top ? top : code;
}
