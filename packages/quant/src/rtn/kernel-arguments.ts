// Schemes and ranges in the numbers that the kernels take (tensor-core/assembly/quantize.ts).
import {
  groupsPerRow,
  scaleBytes,
  type FloatScheme,
  type KernelExports,
  type QuantizationScheme,
} from '@pith/tensor-core';
import { percentileRank } from '../range/measure.ts';
import { searchNorm, shrinkFactors } from '../range/search.ts';
import { arithmeticDType } from './arithmetic.ts';
import type { ScaleAndZero } from './codec.ts';
import { quantizedPieces, type PieceName } from './pieces.ts';
import type { WeightPlan } from './rtn-types.ts';

/** Bytes of the sums of one row. */
export const ROW_ERROR_BYTES = 32;

const DTYPE_NUMBER: Readonly<Record<QuantizationScheme['scaleDType'], number>> = {
  ...{ f32: 0, f16: 1, bf16: 2 },
  ...{ f8_e8m0: 3, f8_e4m3: 4 },
};
const FLOAT_CODING: Readonly<Record<FloatScheme['dtype'], number>> = { f8_e4m3: 16, f8_e5m2: 17, f4_e2m1: 18 };

/** What the kernels take a weight as. */
export interface KernelWeight {
  readonly dtype: number;
  readonly columns: number;
  readonly groupSize: number;
  readonly groupsPerRow: number;
  readonly coding: number;
  readonly asymmetric: number;
  readonly arithmetic: number;
  readonly scaleDType: number;
  readonly packed: number;
  /** Rows that share scales; chunks begin at multiples of it. */
  readonly tileRows: number;
  /** Bytes of one row of the source, of the codes, of the scales and of the zero points as i8. */
  readonly rowBytes: {
    readonly source: number;
    readonly codes: number;
    readonly scales: number;
    readonly zeros: number;
  };
  /** Bytes of scratch for `quantizeRows` and `searchRows`. */
  readonly scratchBytes: number;
  /** Shrink factors of a search, empty without one. */
  readonly factors: Float32Array;
  /** Exponent of a search. */
  readonly norm: number;
}

/** The numbers of a weight. */
export function kernelWeight({ shape, dtype, scheme, storage, range }: WeightPlan): KernelWeight {
  const [, columns] = shape;
  const perRow = groupsPerRow(scheme.granularity, columns);
  const integer = scheme.kind === 'int';
  const asymmetric = integer && !scheme.symmetric;
  const search = range.kind === 'mse' || range.kind === 'lp';
  const oneRow = quantizedPieces([1, columns], scheme, storage);
  const bytesOf = (name: PieceName) => oneRow.find(({ piece }) => piece === name)?.byteLength ?? 0;
  const { granularity } = scheme;
  const own = granularity.kind !== 'tensor';
  const tile = granularity.kind === 'block' ? granularity : undefined;
  const tileBytes = tile ? roundUp(4 * tile.rows * tile.columns + 64) : 0;
  return {
    dtype: DTYPE_NUMBER[dtype],
    columns,
    groupSize: tile?.columns ?? columns / perRow,
    groupsPerRow: perRow,
    coding: integer ? scheme.bits : FLOAT_CODING[scheme.dtype],
    asymmetric: Number(asymmetric),
    arithmetic: DTYPE_NUMBER[arithmeticDType(dtype, scheme.scaleDType)],
    scaleDType: DTYPE_NUMBER[scheme.scaleDType],
    packed: Number((integer || scheme.dtype === 'f4_e2m1') && storage === 'packed'),
    tileRows: tile?.rows ?? 1,
    rowBytes: {
      source: columns * (dtype === 'f32' ? 4 : 2),
      codes: bytesOf('codes'),
      // Of one run of tiles, where scales belong to tiles.
      scales: own ? perRow * scaleBytes(scheme) : 0,
      zeros: own && asymmetric ? perRow : 0,
    },
    // As quantizeScratchBytes of the kernels, which tests hold this to.
    scratchBytes: 64 + 1024 + roundUp(4 * columns + 64) + roundUp(columns + 16) + 16 * perRow + tileBytes,
    factors: search ? shrinkFactors(range) : new Float32Array(0),
    norm: search ? searchNorm(range) : 2,
  };
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / 64) * 64;
}

/** Addresses that a chunk of rows is worked on at. */
export interface ChunkAddresses {
  readonly source: number;
  readonly codes: number;
  readonly scales: number;
  readonly zeros: number;
  readonly errors: number;
  readonly factors: number;
  readonly scratch: number;
}

/**
 * The arguments of `quantizeRows`. `given` is the scale of a tensor that has one; `globalScale` what scales in e4m3 are
 * divided by.
 */
export function quantizeArguments(
  plan: WeightPlan,
  weight: KernelWeight,
  rows: number,
  at: ChunkAddresses,
  given?: ScaleAndZero,
  globalScale = 1,
): Parameters<KernelExports['quantizeRows']> {
  const [rule, number] = given ? [5, 0] : ruleNumbers(plan, weight);
  const { dtype, columns, groupSize, coding, asymmetric, arithmetic, scaleDType, factors, norm, packed } = weight;
  return [
    ...([at.source, dtype, rows, columns, groupSize, coding, asymmetric, arithmetic, scaleDType] as const),
    ...([rule, number, at.factors, factors.length, norm, given?.scale ?? globalScale, given?.zeroPoint ?? 0] as const),
    ...([at.codes, packed, at.scales, at.zeros, at.errors, at.scratch] as const),
  ];
}

/** The arguments of `quantizeTiles`. */
export function tileArguments(
  weight: KernelWeight,
  rows: number,
  at: ChunkAddresses,
): Parameters<KernelExports['quantizeTiles']> {
  const { dtype, columns, groupSize, coding, arithmetic, scaleDType, factors, norm, tileRows } = weight;
  return [
    ...([at.source, dtype, rows, columns, tileRows, groupSize, coding, arithmetic, scaleDType] as const),
    ...([factors.length === 0 ? 0 : 4, at.factors, factors.length, norm] as const),
    ...([at.codes, at.scales, at.errors, at.scratch] as const),
  ];
}

function ruleNumbers({ range }: WeightPlan, { groupSize }: KernelWeight): readonly [rule: number, number: number] {
  switch (range.kind) {
    case 'minmax':
      return [0, 0];
    case 'absmax':
      return [1, 0];
    case 'percentile':
      return [2, percentileRank(range, groupSize)];
    case 'rms':
      return [3, range.multiple];
    case 'mse':
    case 'lp':
      return [4, 0];
  }
}
