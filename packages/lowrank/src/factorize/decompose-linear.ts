// One linear: its singular values under a method, and the factors of a rank.
import { PithError } from '@pith/tensor-core';
import type { Device, RealMatrix, WeightTensor } from '@pith/tensor-core';
import type { InputStatistics } from '@pith/model';
import { columnScales, scaleColumns } from '../asvd/column-scales.ts';
import { singularBasis, type SingularBasis } from '../svd/singular-basis.ts';
import { whiten, type Whitening } from '../whitened-svd/whitening.ts';
import type { FactorizeConfig } from './factorize-config.ts';

/** What a decomposition starts from. */
export interface DecomposeInput {
  readonly weight: WeightTensor;
  readonly config: FactorizeConfig;
  readonly device: Device;
  readonly seed: number;
  /** Rank, where it is known before. */
  readonly rank?: number;
  /** Of the linear's input, with `asvd`. */
  readonly statistics?: InputStatistics;
  /** Of the linear's input, with `whitened-svd`. */
  readonly whitening?: Whitening;
  readonly signal?: AbortSignal;
}

/** A matrix and what decides its approximations. */
export interface DecomposedLinear {
  /** The weight, f32 [out, in]. */
  readonly matrix: RealMatrix<'f32'>;
  readonly basis: SingularBasis;
  /** The singular values are those of the method's matrix times this. */
  readonly scale: number;
  /** Sum of the squares of what the columns are scaled by: trace(S S^T). */
  readonly scaling: number;
}

/**
 * Decomposes a weight as its method asks.
 *
 * @throws PithError `WEIGHT_NOT_FINITE`, and those of `singularBasis`.
 */
export async function decomposeLinear(input: DecomposeInput): Promise<DecomposedLinear> {
  const { weight, config, device, seed, rank, signal } = input;
  const [rows, columns] = weight.shape as [number, number];
  const values = (await weight.toF32()) as Float32Array;
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) {
    const where = `row ${Math.floor(at / columns)}, column ${at % columns}`;
    throw new PithError(
      'WEIGHT_NOT_FINITE',
      `factorize ${weight.name}: every value must be finite, got ${values[at]} at ${where}; the checkpoint is damaged, get it again`,
      { details: { tensor: weight.name, row: Math.floor(at / columns), column: at % columns } },
    );
  }
  const matrix = { dtype: 'f32' as const, shape: [rows, columns], data: values };
  const weighted = await weightedMatrix(matrix, input);
  const basis = await singularBasis(weighted.matrix, device, {
    ...{ solver: config.solver, seed },
    ...(rank !== undefined && { rank }),
    ...(signal && { signal }),
  });
  return { matrix, basis, scale: weighted.scale, scaling: weighted.scaling };
}

async function weightedMatrix(
  matrix: RealMatrix<'f32'>,
  { config, statistics, whitening, device }: DecomposeInput,
): Promise<Pick<DecomposedLinear, 'matrix' | 'scale' | 'scaling'>> {
  const squares = (values: Float64Array) => values.reduce((sum, value) => sum + value * value, 0);
  if (config.method === 'whitened-svd') {
    return { ...(await whiten(matrix, whitening!, device)), scaling: squares(whitening!.root.data) };
  }
  if (config.method === 'svd') return { matrix, scale: 1, scaling: matrix.shape[1] };
  const scales = columnScales(statistics!.meanabs!, config.alpha);
  return { matrix: { ...matrix, data: scaleColumns(matrix.data, scales) }, scale: 1, scaling: squares(scales) };
}
