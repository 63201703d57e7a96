// Input scales folded into a block: columns of the readers times s, what makes the input divided by s.
//
// A norm is stored in its own dtype, so the scales that are used are those that its rounded weight really divides by: the
// scaled model computes the same products as before, up to f32 rounding, whatever the dtype.
import type { NormSpec } from '@pith/model';
import type { WeightTensor } from '@pith/tensor-core';
import { toF32, fromF32 } from '@pith/tensor-core';
import { denseOf, isScalable, scaleColumns, scaleRows, storedDType } from './scale-weight.ts';
import { spreadScales, type SmoothingSet } from './smoothing-sets.ts';

/** Scales outside of these do more harm by rounding than good. */
const SMALLEST_SCALE = 2 ** -20;
const LARGEST_SCALE = 2 ** 20;

/** What folding takes. */
export interface FoldOptions {
  /** Every stored tensor of the block by checkpoint name; replaced where folding rewrites them. */
  readonly weights: Map<string, WeightTensor>;
  readonly set: SmoothingSet;
  /** One for each scale of the fold; positive. */
  readonly scales: Float64Array;
  /** Linears that are rounded afterwards, by checkpoint name: their scaled values stay in f32 until then. */
  readonly rounded: ReadonlySet<string>;
}

/** The reason why a set cannot be folded as its weights are now; undefined where it can. */
export function foldObstacle(
  weights: ReadonlyMap<string, Pick<WeightTensor, 'kind'>>,
  set: SmoothingSet,
): string | undefined {
  const { fold, linears } = set;
  if (fold.kind === 'none') return fold.reason;
  const stuck = [...linears, ...(fold.kind === 'linear' ? [fold.linear] : [])].find(({ name }) => {
    const kind = weights.get(name)?.kind;
    return kind !== 'dense' && kind !== 'factored';
  });
  return stuck && `${stuck.path} is stored ${weights.get(stuck.name)?.kind ?? 'nowhere'}, which cannot be scaled`;
}

/**
 * Folds scales into the weights of a block.
 *
 * @returns The scale of each input column as it was really divided out, f64 [in features].
 */
export async function foldScales({ weights, set, scales, rounded }: FoldOptions): Promise<Float64Array> {
  const { fold, linears } = set;
  if (fold.kind === 'none') throw new TypeError(`scales cannot be folded: ${fold.reason}`);
  const wanted = Float64Array.from(scales, usable);
  const divided = fold.kind === 'norm' ? await intoNorm(weights, fold.norm, wanted) : wanted;
  if (fold.kind === 'linear') {
    const { name, biasName } = fold.linear;
    const inverse = new Float64Array(fold.linear.outFeatures).fill(1);
    fold.rows.forEach((row, i) => (inverse[row] = 1 / divided[i]!));
    weights.set(name, await scaleRows(scalable(weights, name), inverse, rounded.has(name)));
    if (biasName !== null) weights.set(biasName, await scaleRows(scalable(weights, biasName), inverse, false));
  }
  const columns = spreadScales(set, divided);
  for (const { name } of linears) {
    weights.set(name, await scaleColumns(scalable(weights, name), columns, rounded.has(name)));
  }
  return columns;
}

function usable(scale: number): number {
  if (!(scale > 0) || !Number.isFinite(scale)) return 1;
  return Math.min(LARGEST_SCALE, Math.max(SMALLEST_SCALE, scale));
}

/** Divides what a norm multiplies with, and its bias; gives what its stored values are really divided by. */
async function intoNorm(
  weights: Map<string, WeightTensor>,
  { name, biasName, offset }: NormSpec,
  scales: Float64Array,
): Promise<Float64Array> {
  const norm = weights.get(name);
  if (norm?.kind !== 'dense') throw new TypeError(`the norm ${name} must be dense`);
  const before = await norm.toF32();
  const dtype = storedDType(norm);
  const after = toF32(
    dtype,
    fromF32(
      dtype,
      Float32Array.from(before, (value, i) => (offset + value) / scales[i]! - offset),
    ),
  );
  const divided = Float64Array.from(before, (value, i) => {
    const ratio = (offset + value) / (offset + after[i]!);
    // A zero stays one, divided by anything; a value that the dtype cannot hold divided is left alone.
    if (offset + value !== 0 && ratio > 0 && Number.isFinite(ratio)) return ratio;
    after[i] = value;
    return 1;
  });
  weights.set(name, denseOf(name, norm.shape, after, dtype));
  if (biasName !== null) {
    const inverse = Float64Array.from(divided, (scale) => 1 / scale);
    weights.set(biasName, await scaleRows(scalable(weights, biasName), inverse, false));
  }
  return divided;
}

function scalable(weights: ReadonlyMap<string, WeightTensor>, name: string) {
  const weight = weights.get(name);
  if (isScalable(weight)) return weight;
  throw new TypeError(`${name} must be dense to be scaled, got ${weight?.kind ?? 'nothing'}`);
}
