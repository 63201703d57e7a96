// Rounding to nearest of what a pass finds at a linear: a dense weight, or the two factors of one.
import {
  factoredWeight,
  PithError,
  quantizedWeight,
  restoredDType,
  type ActivationQuantization,
  type DenseWeight,
  type FactoredWeight,
  type QuantizedWeight,
  type ScaleDType,
  type WeightTensor,
} from '@pith/tensor-core';
import type { LinearSpec, PassContext } from '@pith/model';
import type { RangeRule } from '../range/range.ts';
import { quantizeWeight } from '../rtn/quantize-weight.ts';
import type { QuantizationError } from '../rtn/rtn-types.ts';
import { globalScaleOf } from '../rtn/scale.ts';
import { isQuantizable, resolveScheme, type QuantizableDType } from '../scheme/resolve-scheme.ts';
import { hasGlobalScale } from '../scheme/scheme-rules.ts';
import type { Scheme } from '../scheme/scheme.ts';
import { sharingLinears } from './shared-scales.ts';

/** How {@link roundWeight} rounds. */
export interface RoundOptions {
  readonly scheme: Scheme;
  readonly range: RangeRule;
  /** Recorded in the weight. */
  readonly activations?: ActivationQuantization | undefined;
  /** Of scales in e4m3; that of the weight alone when left out. */
  readonly globalScale?: number | undefined;
}

/** A rounded weight. */
export interface Rounded {
  readonly weight: QuantizedWeight | FactoredWeight;
  /** Of the weight, or summed over both factors. */
  readonly error: QuantizationError;
}

/** True for what {@link roundWeight} takes. */
export function isRoundable(weight: WeightTensor): weight is DenseWeight | (FactoredWeight & DenseFactors) {
  return (
    weight.kind === 'dense' ||
    (weight.kind === 'factored' && weight.left.kind === 'dense' && weight.right.kind === 'dense')
  );
}

interface DenseFactors {
  readonly left: DenseWeight;
  readonly right: DenseWeight;
}

/** What the scales of a weight are stored in. */
export function scaleDTypeOf(weight: DenseWeight | (FactoredWeight & DenseFactors), scheme: Scheme): ScaleDType {
  const { dtype } = weight.kind === 'dense' ? weight : weight.left;
  return restoredDType(resolveScheme(scheme, isQuantizable(dtype) ? dtype : 'f32'));
}

/** The scheme with the dtype of the scales of a weight settled; scales of 8 bits are. */
export function settledScheme(weight: DenseWeight | (FactoredWeight & DenseFactors), scheme: Scheme): Scheme {
  if (scheme.weights.kind === 'float' && scheme.weights.scaleDType !== undefined) return scheme;
  return { ...scheme, scaleDType: scaleDTypeOf(weight, scheme) };
}

/**
 * Global scales by the name of the weight, for linears of a stage whose scheme has them: shared by those whose products a
 * runtime computes as one. The factors of a factored weight have scales of their own.
 */
export async function globalScales(
  linears: readonly LinearSpec[],
  schemeOf: (linear: LinearSpec) => Scheme,
  weights: ReadonlyMap<string, WeightTensor>,
): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  const global = linears.filter(
    (linear) => hasGlobalScale(schemeOf(linear)) && weights.get(linear.name)?.kind === 'dense',
  );
  for (const set of sharingLinears(global)) {
    let magnitude = 0;
    const dtypes = new Set<QuantizableDType>();
    for (const { name } of set) {
      const weight = weights.get(name) as DenseWeight;
      for (const value of await weight.toF32()) magnitude = Math.max(magnitude, Math.abs(value));
      dtypes.add(isQuantizable(weight.dtype) ? weight.dtype : 'f32');
    }
    const scale = globalScaleOf(magnitude, dtypes.size === 1 ? [...dtypes][0]! : 'f32');
    for (const { name } of set) found.set(name, scale);
  }
  return found;
}

/** The weight of a linear as a stage has it, if it can be rounded. @throws PithError `REPRESENTATION_NOT_QUANTIZABLE` */
export function requireRoundable(
  name: string,
  weight: WeightTensor | undefined,
): DenseWeight | (FactoredWeight & DenseFactors) {
  if (weight && isRoundable(weight)) return weight;
  throw new PithError(
    'REPRESENTATION_NOT_QUANTIZABLE',
    `quantize ${name}: it must be dense, or factors that are, got ${weight?.kind ?? 'none'}; plan the stages first`,
    { details: { tensor: name, representation: weight?.kind ?? null } },
  );
}

/** Rounds a weight, or each of its factors, to nearest. */
export async function roundWeight(
  weight: DenseWeight | (FactoredWeight & DenseFactors),
  options: RoundOptions,
  context: PassContext,
): Promise<Rounded> {
  if (weight.kind === 'dense') return roundDense(weight, options, context);
  const left = await roundDense(weight.left, options, context);
  const right = await roundDense(weight.right, options, context);
  const { name } = weight;
  return {
    weight: factoredWeight({ name, left: left.weight, right: right.weight }),
    error: sum(left.error, right.error),
  };
}

/** Rounds a dense weight to nearest. */
export async function roundDense(
  weight: DenseWeight,
  { scheme, range, activations, globalScale }: RoundOptions,
  { pool, signal, progress }: PassContext,
): Promise<{ weight: QuantizedWeight; error: QuantizationError }> {
  const shared = globalScale === undefined ? {} : { globalScale };
  const run = { host: pool, ...shared, ...(signal && { signal }), ...(progress && { progress }) };
  const rounded = await quantizeWeight(weight, { scheme, range, ...run });
  return { ...rounded, weight: withActivations(rounded.weight, activations) };
}

/** The same codes, with what the runtime does to the inputs. */
export function withActivations(
  weight: QuantizedWeight,
  activations: ActivationQuantization | undefined,
): QuantizedWeight {
  if (activations === undefined) return weight;
  const { name, shape, scheme, groupIndex, globalScale, block } = weight;
  const facts = { ...(groupIndex && { groupIndex }), ...(globalScale !== undefined && { globalScale }) };
  return quantizedWeight({ name, shape, scheme, activations, ...facts, read: block });
}

/** The facts of a rounding for the receipt. */
export function errorRecord({ mse, signalToNoise, maxAbsError, clippedFraction, zeroScales }: QuantizationError) {
  // JSON has no Infinity: nothing differs.
  return {
    mse,
    signalToNoise: Number.isFinite(signalToNoise) ? signalToNoise : null,
    maxAbsError,
    clippedFraction,
    zeroScales,
  };
}

function sum(a: QuantizationError, b: QuantizationError): QuantizationError {
  const count = a.count + b.count;
  const sumSquaredError = a.sumSquaredError + b.sumSquaredError;
  const sumSquares = a.sumSquares + b.sumSquares;
  return {
    count,
    sumSquaredError,
    sumSquares,
    mse: sumSquaredError / count,
    signalToNoise: sumSquaredError === 0 ? Infinity : 10 * Math.log10(sumSquares / sumSquaredError),
    maxAbsError: Math.max(a.maxAbsError, b.maxAbsError),
    clippedFraction: (a.clippedFraction * a.count + b.clippedFraction * b.count) / count,
    zeroScales: a.zeroScales + b.zeroScales,
  };
}
