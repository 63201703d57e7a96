// Round to nearest as the tools of two formats of integer codes do it: GPTQ's quantizer without its sweep (auto-gptq 0.7.1)
// and AutoAWQ's 0.2.9. Codes come from f32 scales; the formats store them in f16.
import { roundHalfToEven, type DenseWeight, type IntegerScheme, type QuantizedWeight } from '@pith/tensor-core';
import { eachGroup, roundedWeight } from './lazy-rounding.ts';

/** How integer codes are asked for. */
export interface IntegerCoding {
  /** Bits of a code. */
  readonly bits: number;
  /** Columns of a group; -1 for all of them. */
  readonly groupSize: number;
  /** Zero points are half of the range; of GPTQ alone. */
  readonly symmetric: boolean;
}

/**
 * A dense weight as auto-gptq's quantizer rounds it: the range holds 0; symmetric ones reach as far on both sides, but where
 * nothing is negative, so that the upper half of the codes does for all. Lazy.
 *
 * @throws PithError as `roundedWeight`; `GROUP_SIZE_DOES_NOT_DIVIDE`.
 */
export function roundGptq(weight: DenseWeight, coding: IntegerCoding): QuantizedWeight {
  const { bits, symmetric } = coding;
  const most = 2 ** bits - 1;
  return roundIntegers(weight, coding, (lowest, highest) => {
    let [low, high] = [Math.min(lowest, 0), Math.max(highest, 0)];
    if (symmetric) {
      high = Math.max(Math.abs(low), high);
      if (low < 0) low = -high;
    }
    if (low === 0 && high === 0) [low, high] = [-1, 1];
    const scale = Math.fround(Math.fround(high - low) / most);
    return [scale, symmetric ? (most + 1) / 2 : roundHalfToEven(Math.fround(-low / scale))];
  });
}

/** Smallest range that AutoAWQ divides. */
const LEAST_RANGE = Math.fround(1e-5);

/**
 * A dense weight as AutoAWQ rounds it (without its search): the range need not hold 0, and a zero point outside of the codes is
 * clamped, which destroys groups far from 0. Lazy.
 *
 * @throws PithError as `roundedWeight`; `GROUP_SIZE_DOES_NOT_DIVIDE`.
 */
export function roundAwq(weight: DenseWeight, groupSize: number): QuantizedWeight {
  return roundIntegers(weight, { bits: 4, groupSize, symmetric: false }, (lowest, highest) => {
    const scale = Math.fround(Math.max(Math.fround(highest - lowest), LEAST_RANGE) / 15);
    return [scale, Math.min(Math.max(-roundHalfToEven(Math.fround(lowest / scale)), 0), 15)];
  });
}

type ScaleAndZero = (lowest: number, highest: number) => readonly [scale: number, zero: number];

function roundIntegers(weight: DenseWeight, coding: IntegerCoding, choose: ScaleAndZero): QuantizedWeight {
  const { bits, symmetric, groupSize } = coding;
  const size = groupSize === -1 ? weight.shape[1]! : groupSize;
  const scheme: IntegerScheme = {
    kind: 'int',
    bits,
    symmetric,
    granularity: groupSize === -1 ? { kind: 'channel' } : { kind: 'group', size },
    scaleDType: 'f32',
  };
  const [half, most] = [2 ** (bits - 1), 2 ** bits - 1];
  return roundedWeight(weight, scheme, (values) => {
    const codes = new Int8Array(values.length);
    const scales = new Float32Array(values.length / size);
    const zeroPoints = new Int8Array(scales.length);
    eachGroup(values, size, (group, start, lowest, highest) => {
      const [scale, zero] = choose(lowest, highest);
      for (let i = start; i < start + size; i += 1) {
        const code = roundHalfToEven(Math.fround(values[i]! / scale)) + zero;
        codes[i] = Math.min(Math.max(code, 0), most) - half;
      }
      scales[group] = scale;
      zeroPoints[group] = zero - half;
    });
    return symmetric ? { codes, scales } : { codes, scales, zeroPoints };
  });
}
