// Puts the two linears that a module is stored as in the place of one weight.
import {
  factoredWeight,
  PithError,
  type DenseWeight,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import type { LowRankModule } from './low-rank-config.ts';

/**
 * Weights by the names of their dense forms, the factors of each module as one. Nothing is read.
 *
 * @throws PithError `LOW_RANK_FACTOR_MISSING`, `LOW_RANK_FACTOR_SHAPE`, `LOW_RANK_FACTOR_KIND`, `LOW_RANK_WEIGHT_TWICE`
 * naming the tensor.
 */
export function foldFactors(
  weights: ReadonlyMap<string, WeightTensor>,
  modules: readonly LowRankModule[],
  file: string,
): Map<string, WeightTensor> {
  const folded = new Map<string, WeightTensor>();
  const absorbed = new Set<string>();
  for (const { name, left, right, rank } of modules) {
    if (weights.has(name)) {
      throw fault('LOW_RANK_WEIGHT_TWICE', name, `${file} has it as two factors, and it is stored whole as well`);
    }
    const [first, second] = [factor(weights, right, name, file), factor(weights, left, name, file)];
    if (first.shape.length !== 2 || first.shape[0] !== rank) throw shape(right, `[${rank}, in features]`, first.shape);
    if (second.shape.length !== 2 || second.shape[1] !== rank)
      throw shape(left, `[out features, ${rank}]`, second.shape);
    folded.set(right, factoredWeight({ name, left: second, right: first }));
    absorbed.add(left);
  }
  const result = new Map<string, WeightTensor>();
  for (const [name, weight] of weights) {
    const whole = folded.get(name);
    if (whole) result.set(whole.name, whole);
    else if (!absorbed.has(name)) result.set(name, weight);
  }
  return result;
}

function factor(
  weights: ReadonlyMap<string, WeightTensor>,
  name: string,
  of: string,
  file: string,
): DenseWeight | QuantizedWeight {
  const found = weights.get(name);
  if (found === undefined)
    throw fault('LOW_RANK_FACTOR_MISSING', name, `${file} has ${of} as two factors, this one is not there`);
  if (found.kind === 'dense' || found.kind === 'quantized') return found;
  throw fault('LOW_RANK_FACTOR_KIND', name, `a factor must be dense or quantized, this one is ${found.kind}`);
}

function shape(name: string, wanted: string, got: readonly number[]): PithError {
  return fault('LOW_RANK_FACTOR_SHAPE', name, `it must be ${wanted}, got [${got.join(', ')}]`);
}

function fault(code: string, tensor: string, why: string): PithError {
  const text = `read low-rank weight: tensor ${JSON.stringify(tensor)}: ${why}; get the checkpoint again`;
  return new PithError(code, text, { details: { tensor } });
}
