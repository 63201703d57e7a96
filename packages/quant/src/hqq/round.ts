// Rows of a dense weight by half-quadratic quantization: codes from 0 with offsets in floating point, which stand for zero points
// between codes (MLX, HQQ). Whole zero points have nothing to search: 0 is on the grid of the codes wherever they lie.
import {
  fromF32,
  toF32,
  type AffineScheme,
  type CodeBlock,
  type DenseWeight,
  type QuantizedWeight,
  type ScaleDType,
} from '@pith/tensor-core';
import { roundedWeight } from '../formats/lazy-rounding.ts';
import { codeOf, HQQ_SEARCH, solveGroup, type HqqSearch } from './solve.ts';

/** How {@link roundHqq} codes. */
export interface HqqCoding {
  /** 2 to 8. */
  readonly bits: number;
  /** Columns of a group. */
  readonly groupSize: number;
  /** What scales and offsets are stored in; the dtype of the weight when left out. */
  readonly scaleDType?: ScaleDType;
  /** The published settings when left out. */
  readonly search?: HqqSearch;
}

/** The scheme of what {@link roundHqq} makes. */
export function hqqScheme({ bits, groupSize }: HqqCoding, scaleDType: ScaleDType): AffineScheme {
  return { kind: 'affine', bits, granularity: { kind: 'group', size: groupSize }, scaleDType };
}

/**
 * A dense weight by half-quadratic quantization; rows are rounded when they are asked for.
 *
 * @throws PithError `WEIGHT_NOT_MATRIX`, `DTYPE_NOT_QUANTIZABLE`, `GROUP_SIZE_DOES_NOT_DIVIDE`; its methods `WEIGHT_NOT_FINITE`.
 */
export function roundHqq(weight: DenseWeight, coding: HqqCoding): QuantizedWeight {
  const { bits, groupSize: size, scaleDType = weight.dtype as ScaleDType, search = HQQ_SEARCH } = coding;
  const stored = (list: Float32Array) => (scaleDType === 'f32' ? list : toF32(scaleDType, fromF32(scaleDType, list)));
  return roundedWeight(weight, hqqScheme(coding, scaleDType), (values) => {
    const groups = Array.from({ length: values.length / size }, (_, group) =>
      solveGroup(values.subarray(group * size, (group + 1) * size), 2 ** bits, search),
    );
    const scales = stored(Float32Array.from(groups, ({ scale }) => scale));
    // Stored offsets belong to the stored scales.
    const biases = stored(scales.map((scale, group) => -groups[group]!.zero * scale));
    return affineBlock(values, size, scales, biases, bits);
  });
}

function affineBlock(
  values: Float32Array,
  size: number,
  scales: Float32Array,
  biases: Float32Array,
  bits: number,
): CodeBlock {
  const codes = new Uint8Array(values.length);
  const top = 2 ** bits - 1;
  for (let i = 0; i < codes.length; i += 1) {
    const group = Math.floor(i / size);
    const scale = scales[group]!;
    // A scale below the range of its dtype restores the offset alone.
    codes[i] = scale === 0 ? 0 : codeOf((values[i]! - biases[group]!) / scale, 0, top);
  }
  return { codes, scales, biases };
}
