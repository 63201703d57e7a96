// Factorization as a block pass: each selected linear becomes the product of two smaller ones.
import {
  denseWeight,
  factoredWeight,
  factorNames,
  fromF32,
  memoryBytes,
  PithError,
  throwIfStopped,
} from '@pith/tensor-core';
import type { WeightTensor } from '@pith/tensor-core';
import { linearSelector } from '@pith/model';
import type { BlockPass, InputStatistic, Intervention, LinearSpec, PassContext, Stage, StageResult } from '@pith/model';
import { projectOnto, type Factors } from '../factors/project.ts';
import { largestUsefulRank, rankByEnergy } from '../factors/rank.ts';
import { whitening, type Whitening } from '../whitened-svd/whitening.ts';
import { decomposeLinear, type DecomposedLinear } from './decompose-linear.ts';
import { factorizeConfig, type FactorizeConfig, type FactorizeOptions } from './factorize-config.ts';
import { intentOf, planFactorize, type FactorDType } from './plan-factorize.ts';

/** What each method wants to know of inputs. */
export const NEEDS: Readonly<Record<FactorizeConfig['method'], readonly InputStatistic[]>> = {
  svd: [],
  asvd: ['meanabs'],
  'whitened-svd': ['gram'],
};

/** Points of a spectrum in a record. */
const SPECTRUM_POINTS = 48;

/**
 * Factorization of linears by `svd`, `asvd` or `whitened-svd`, each with its own rank. A linear whose factors would not be
 * smaller stays dense; the plan says so, or where the rank is found only at work an intervention `KEPT_DENSE`.
 *
 * Records per weight: rank, parameters before and after, relative error in the norm of the method, singular values.
 *
 * @throws PithError `FACTORIZE_OPTIONS`; its `apply` throws `WEIGHT_NOT_FINITE`, `NOT_CONVERGED`, `STOPPED`.
 */
export function factorizePass(options: FactorizeOptions): BlockPass {
  const config = factorizeConfig(options);
  if (config.budget !== undefined) {
    throw new PithError(
      'FACTORIZE_OPTIONS',
      `factorize options: budget: must be left out of a pass, got ${config.budget}; ranks of all linears together are found ` +
        'by factorizeTransform',
      { details: { problems: [{ path: 'budget', message: 'must be left out of a pass' }] } },
    );
  }
  const selects = linearSelector(config);
  return {
    name: config.method,
    config,
    plan: (model) => planFactorize(model, config),
    needs: (linear) => (works(linear, config, selects) ? NEEDS[config.method] : []),
    apply: (stage, context) => applyTo(stage, context, config, selects),
  };
}

type Selects = (linear: Pick<LinearSpec, 'path' | 'role'>) => boolean;

function works(linear: LinearSpec, config: FactorizeConfig, selects: Selects): boolean {
  return selects(linear) && intentOf(linear, config).kind === 'factorize';
}

async function applyTo(
  stage: Stage,
  context: PassContext,
  config: FactorizeConfig,
  selects: Selects,
): Promise<StageResult> {
  const weights = new Map<string, WeightTensor>();
  const records: Record<string, Record<string, unknown>> = {};
  const interventions: Intervention[] = [];
  for await (const step of decomposeStage(stage, context, config, selects)) {
    interventions.push(...step.interventions);
    const { linear, weight, decomposed, rank: known } = step;
    const { basis, matrix } = decomposed;
    const rank = known ?? rankByEnergy(basis.values, config.energy!);
    const [rows, columns] = matrix.shape as [number, number];
    const most = largestUsefulRank(rows, columns);
    const parameters = rows * columns;
    const relativeError = basis.relativeError(rank);
    const spectrum = spectrumOf(basis.values, decomposed.scale);
    if (rank > most) {
      interventions.push({
        code: 'KEPT_DENSE',
        where: linear.path,
        message: `stays dense: the energy asked for takes rank ${rank}, whose two factors have more parameters than the weight`,
        details: { rank, largestUsefulRank: most },
      });
      records[linear.name] = {
        rank: null,
        parametersBefore: parameters,
        parametersAfter: parameters,
        relativeError: 0,
        spectrum,
      };
      continue;
    }
    const factors = await projectOnto(matrix, basis.u, rank, context.device);
    const dtype = config.dtype ?? (weight.kind === 'dense' ? (weight.dtype as FactorDType) : 'f32');
    weights.set(linear.name, factoredOf(linear.name, factors, [rows, rank, columns], dtype));
    const parametersAfter = rank * (rows + columns);
    records[linear.name] = { rank, parametersBefore: parameters, parametersAfter, relativeError, spectrum };
  }
  return { weights, records, interventions };
}

/** A linear of a stage, decomposed. */
export interface StageStep {
  readonly linear: LinearSpec;
  readonly weight: WeightTensor;
  readonly decomposed: DecomposedLinear;
  /** Where the configuration says it. */
  readonly rank: number | null;
  readonly interventions: readonly Intervention[];
}

/** Decomposes the linears of a stage that a configuration works on, one after the other. */
export async function* decomposeStage(
  stage: Stage,
  { device, seed, signal }: PassContext,
  config: FactorizeConfig,
  selects: Selects,
): AsyncGenerator<StageStep> {
  const whitenings = new Map<string, Whitening>();
  for (const linear of stage.linears) {
    throwIfStopped(signal, config.method);
    const intent = intentOf(linear, config);
    if (!selects(linear) || intent.kind === 'keep') continue;
    const weight = stage.weights.get(linear.name)!;
    const statistics = stage.statistics.get(linear.inputGroup);
    const interventions: Intervention[] = [];
    let white = whitenings.get(linear.inputGroup);
    if (config.method === 'whitened-svd' && white === undefined) {
      white = await whitening(statistics!.gram!, linear.inFeatures, device, signal);
      whitenings.set(linear.inputGroup, white);
      if (white.rescue) interventions.push(whitenedByEigenvalues(linear.inputGroup, white.rescue));
    }
    const decomposed = await decomposeLinear({
      ...{ weight, config, device, seed },
      ...(intent.rank !== null && { rank: intent.rank }),
      ...(statistics && { statistics }),
      ...(white && { whitening: white }),
      ...(signal && { signal }),
    });
    yield { linear, weight, decomposed, rank: intent.rank, interventions };
  }
}

function whitenedByEigenvalues(where: string, rescue: NonNullable<Whitening['rescue']>): Intervention {
  return {
    code: 'WHITENED_BY_EIGENVALUES',
    where,
    message:
      `the Gram matrix of these inputs is singular (${rescue.zeroEigenvalues} eigenvalues are zero to rounding): ` +
      'eigendecomposition took the place of Cholesky factorization',
    details: { ...rescue },
  };
}

/** A factored weight in memory. */
export function factoredOf(
  name: string,
  { left, right }: Factors,
  [rows, rank, columns]: readonly [number, number, number],
  dtype: FactorDType,
): WeightTensor {
  const names = factorNames(name);
  const stored = (of: string, shape: readonly number[], values: Float32Array) =>
    denseWeight({ name: of, dtype, shape, source: memoryBytes(fromF32(dtype, values)) });
  return factoredWeight({
    name,
    left: stored(names.left, [rows, rank], left),
    right: stored(names.right, [rank, columns], right),
  });
}

/** Some of the singular values as [index, value], the first ones close together. */
function spectrumOf(values: Float32Array, scale: number): [number, number][] {
  const count = values.length;
  const places = new Set<number>();
  for (let i = 0; i < SPECTRUM_POINTS; i++) places.add(Math.floor((count - 1) * (i / (SPECTRUM_POINTS - 1)) ** 1.5));
  return [...places].map((place) => [place, values[place] / scale]);
}
