// Scales of quantized activations: the part of a scheme that calibration has to find.
//
// As compressed-tensors 0.19: the range contains 0; symmetric scale = largest magnitude / ((highest - lowest code) / 2).
import { PithError, roundHalfToEven, type ActivationQuantization, type ScaleDType } from '@pith/tensor-core';
import type { InputStatistic, InputStatistics } from '@pith/model';
import { roundTo, epsilonOf } from '../rtn/arithmetic.ts';
import type { Scheme } from '../scheme/scheme.ts';

/** The statistics that the activations of a scheme need. */
export function activationNeeds({ activations }: Scheme): readonly InputStatistic[] {
  return activations?.dynamic === false ? ['range'] : [];
}

/**
 * How the runtime quantizes the inputs of a linear; undefined where it does not.
 *
 * @param statistics Of the inputs; `min` and `max` are read where the scale is static.
 * @param divisors What the inputs are divided by, column by column, since the statistics were taken.
 */
export function activationQuantization(
  { activations }: Scheme,
  scaleDType: ScaleDType,
  statistics: InputStatistics | undefined,
  divisors?: Float32Array | Float64Array,
): ActivationQuantization | undefined {
  if (activations === undefined) return undefined;
  const { dtype, dynamic, symmetric = true } = activations;
  if (dynamic) return { kind: 'token-dynamic', dtype, symmetric };
  if (statistics?.min === undefined || statistics.max === undefined) {
    throw new PithError(
      'STATISTIC_MISSING',
      'activation scales: a static scale needs the range of the inputs, got none',
      {
        kind: 'internal',
      },
    );
  }
  let lowest = 0;
  let highest = 0;
  for (let i = 0; i < statistics.inFeatures; i++) {
    lowest = Math.min(lowest, statistics.min[i]! / (divisors?.[i] ?? 1));
    highest = Math.max(highest, statistics.max[i]! / (divisors?.[i] ?? 1));
  }
  const scaleOf = (value: number) => {
    const scale = roundTo(scaleDType, value);
    return scale > 0 ? scale : epsilonOf(scaleDType);
  };
  if (symmetric) {
    const half = dtype === 'i8' ? 127.5 : 448;
    return { kind: 'tensor-static', dtype, symmetric, scale: scaleOf(Math.max(-lowest, highest) / half), zeroPoint: 0 };
  }
  const scale = scaleOf((highest - lowest) / 255);
  const zeroPoint = roundHalfToEven(Math.min(127, Math.max(-128, -128 - lowest / scale)));
  return { kind: 'tensor-static', dtype, symmetric, scale, zeroPoint };
}
