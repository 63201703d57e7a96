// Puts reductions of the inputs of linears into a block's program.
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { LinearHook } from '../architecture/scope.ts';
import type { BlockSpec, LinearSpec } from '../architecture/architecture.ts';
import type { StatisticPiece } from './statistic.ts';

const REDUCE: Record<StatisticPiece, (x: Tensor) => Tensor> = {
  absmax: (x) => tf.max(tf.abs(x), 0),
  min: (x) => tf.min(x, 0),
  max: (x) => tf.max(x, 0),
  sum: (x) => tf.sum(x, 0),
  squares: (x) => tf.sum(tf.square(x), 0),
  gram: (x) => tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D, true, false),
};

/** Name of an input group relative to its block: the same in all blocks of a variant. */
export function localGroup(block: BlockSpec, spec: LinearSpec): string {
  return spec.inputGroup.slice(block.path.length + 1);
}

/** Name of the program's output that carries a reduction. */
export function outputName(group: string, piece: StatisticPiece): string {
  return `statistic.${group}.${piece}`;
}

/**
 * A hook that reduces the input of each group once, whichever of its linears comes first.
 *
 * @param wanted Reductions by local group name; groups that are left out are not reduced.
 * @param outputs Receives the reductions by {@link outputName}: vectors f32 [in], `gram` f32 [in, in].
 */
export function reducingHook(
  block: BlockSpec,
  wanted: ReadonlyMap<string, readonly StatisticPiece[]>,
  outputs: Record<string, Tensor>,
): LinearHook {
  return (spec, x, apply) => {
    const group = localGroup(block, spec);
    const rows = tf.reshape(x, [-1, spec.inFeatures]);
    for (const piece of wanted.get(group) ?? []) {
      const name = outputName(group, piece);
      if (!(name in outputs)) outputs[name] = REDUCE[piece](rows);
    }
    return apply();
  };
}
