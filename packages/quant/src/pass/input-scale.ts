// Scales of quantized activations: the part of a scheme that calibration has to find.
//
// As compressed-tensors 0.19: the range contains 0; symmetric scale = largest magnitude / ((highest - lowest code) / 2).
import { PithError, roundHalfToEven, type ActivationQuantization, type ScaleDType } from '@pith/tensor-core';
import type { InputStatistic, InputStatistics } from '@pith/model';
import { roundTo, epsilonOf } from '../rtn/arithmetic.ts';
import { globalScaleOf } from '../rtn/scale.ts';
import { needsInputRange, type ActivationScheme, type Scheme } from '../scheme/scheme.ts';

/** The statistics that the activations of a scheme need. */
export function activationNeeds({ activations }: Scheme): readonly InputStatistic[] {
  return needsInputRange(activations) ? ['range'] : [];
}

/**
 * How the runtime quantizes the inputs of a linear; undefined where it does not.
 *
 * @param statistics Of the inputs; `min` and `max` are read where a scale is static.
 * @param divisors What the inputs are divided by, column by column, since the statistics were taken.
 */
export function activationQuantization(
  { activations }: Scheme,
  scaleDType: ScaleDType,
  statistics: InputStatistics | undefined,
  divisors?: Float32Array | Float64Array,
): ActivationQuantization | undefined {
  if (activations === undefined) return undefined;
  const range = needsInputRange(activations) ? inputRange(statistics, divisors) : { lowest: 0, highest: 0 };
  return activationsOfRange(activations, scaleDType, range);
}

/** How activations are counted before calibration has found their scales. */
export function countedActivations({ activations }: Scheme): ActivationQuantization | undefined {
  return activations && activationsOfRange(activations, 'f32', { lowest: -1, highest: 1 });
}

interface InputRange {
  readonly lowest: number;
  readonly highest: number;
}

function inputRange(
  statistics: InputStatistics | undefined,
  divisors: Float32Array | Float64Array | undefined,
): InputRange {
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
  return { lowest, highest };
}

function activationsOfRange(
  activations: ActivationScheme,
  scaleDType: ScaleDType,
  { lowest, highest }: InputRange,
): ActivationQuantization {
  const { granularity, dynamic, symmetric = true } = activations;
  // Schemes are checked when they are defined: fp4 has groups, groups have a size.
  const dtype = activations.dtype as 'i8' | 'f8_e4m3';
  if (granularity === 'group') {
    const { size = 0, scaleDType: micro = 'f32' } = activations;
    const group = { kind: 'group-dynamic', dtype: activations.dtype as 'f4_e2m1', symmetric: true, size } as const;
    if (micro !== 'f8_e4m3') return { ...group, scaleDType: micro };
    return { ...group, scaleDType: micro, globalScale: globalScaleOf(Math.fround(Math.max(-lowest, highest)), 'f32') };
  }
  if (dynamic) return { kind: 'token-dynamic', dtype, symmetric };
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
