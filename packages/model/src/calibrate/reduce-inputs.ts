// Puts reductions of the inputs of linears into a block's program.
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { LinearHook } from '../architecture/scope.ts';
import { PithError } from '@pith/tensor-core';
import type { BlockOutput, BlockSpec, LinearInput, LinearSpec } from '../architecture/architecture.ts';
import { gramOf, gramPanels } from './gram-panels.ts';
import type { StatisticPiece } from './statistic.ts';

/** Reductions of a block, not of the input of a linear. */
type BlockPiece = 'cosine' | 'keys' | 'values';

const REDUCE: Record<
  Exclude<StatisticPiece, BlockPiece | 'gram' | 'routed' | 'contribution'>,
  (x: Tensor) => Tensor
> = {
  absmax: (x) => tf.max(tf.abs(x), 0),
  min: (x) => tf.min(x, 0),
  max: (x) => tf.max(x, 0),
  sum: (x) => tf.sum(x, 0),
  sumabs: (x) => tf.sum(tf.abs(x), 0),
  squares: (x) => tf.sum(tf.square(x), 0),
};

function isBlockPiece(piece: StatisticPiece): piece is BlockPiece {
  return piece === 'cosine' || piece === 'keys' || piece === 'values';
}

/** Name of an input group relative to its block: the same in all blocks of a variant. */
export function localGroup(block: BlockSpec, spec: LinearSpec): string {
  return spec.inputGroup.slice(block.path.length + 1);
}

/** Local group name of the block itself: see {@link reduceBlock}. */
export const BLOCK_GROUP = '';

/**
 * The sum over tokens of the cosine between the hidden states before and after a block: f32 [1]. Two zero vectors have
 * cosine 0.
 */
export function cosineSum(before: Tensor, after: Tensor): Tensor {
  const dot = (x: Tensor, y: Tensor) => tf.sum(tf.mul(x, y), -1);
  const lengths = tf.mul(tf.sqrt(dot(before, before)), tf.sqrt(dot(after, after)));
  // Lengths of some 1e-19 and less have a product below the smallest f32; such a token counts as zero.
  return tf.reshape(tf.sum(tf.div(dot(before, after), tf.maximum(lengths, tf.scalar(1e-37)))), [1]);
}

/**
 * Reduces what a block made: `cosine` of its hidden states, and of `keys` and `values` the smallest values of each head, then
 * the largest, f32 [2 keyValueHeads].
 *
 * @param outputs Receives the reductions by {@link outputNames}.
 */
export function reduceBlock(
  wanted: readonly StatisticPiece[],
  hidden: Tensor,
  output: BlockOutput,
  outputs: Record<string, Tensor>,
): void {
  for (const piece of wanted) {
    const [name] = outputNames(BLOCK_GROUP, piece, 1);
    if (piece === 'cosine') outputs[name] = cosineSum(hidden, output.hidden);
    else if (piece === 'keys' || piece === 'values') {
      outputs[name] = tf.concat([tf.min(output[piece], [0, 2, 3]), tf.max(output[piece], [0, 2, 3])]);
    }
  }
}

/** Names of the program's outputs that carry a reduction: one, or one for each panel of a Gram matrix. */
export function outputNames(group: string, piece: StatisticPiece, inFeatures: number): string[] {
  const name = `statistic.${group}.${piece}`;
  return piece === 'gram' ? gramPanels(inFeatures).map((_, i) => `${name}.${i}`) : [name];
}

/**
 * A hook that reduces the input of each group once, whichever of its linears comes first. Rows of tokens that an expert was not
 * chosen for are zero and add nothing.
 *
 * @param wanted Reductions by local group name; groups that are left out are not reduced.
 * @param outputs Receives the reductions by {@link outputNames}: vectors f32 [in], panels of `gram`.
 */
export function reducingHook(
  block: BlockSpec,
  wanted: ReadonlyMap<string, readonly StatisticPiece[]>,
  outputs: Record<string, Tensor>,
): LinearHook {
  return (spec, x, apply, input) => {
    const group = localGroup(block, spec);
    const rows = tf.reshape(x, [-1, spec.inFeatures]);
    let made: Tensor | undefined;
    const output = (): Tensor => (made ??= apply());
    for (const piece of wanted.get(group) ?? []) {
      const names = outputNames(group, piece, spec.inFeatures);
      if (names[0] in outputs || isBlockPiece(piece)) continue;
      const values =
        piece === 'routed'
          ? [tf.reshape(tf.sum(input!.routed!), [1])]
          : piece === 'contribution'
            ? [contributionOf(spec, output(), input)]
            : piece === 'gram'
              ? gramOf(rows)
              : [REDUCE[piece](rows)];
      names.forEach((name, i) => (outputs[name] = values[i]));
    }
    return output();
  };
}

/** Sum of squares of what an expert adds to the hidden states: f32 [1]. */
function contributionOf({ path }: LinearSpec, made: Tensor, input: LinearInput | undefined): Tensor {
  if (input?.share === undefined) {
    throw new PithError(
      'STATISTIC_UNAVAILABLE',
      `calibration: contribution is a statistic of the linear at the end of an expert, ${path} is none`,
      { kind: 'internal', details: { path } },
    );
  }
  return tf.reshape(tf.sum(tf.square(tf.mul(made, input.share))), [1]);
}
