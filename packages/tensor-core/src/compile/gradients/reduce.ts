// Gradients of reductions, softmax and running sums.
import * as tf from '@tensorflow/tfjs-core';
import { frontAxes } from '../lower/shape.ts';
import { keepWhere, zeros } from './gradient.ts';
import type { Gradient, GradientTable } from './gradient.ts';

/** Gives the result of a reduction its reduced axes back, with length 1. */
function keepAxes(y: tf.Tensor, shape: readonly number[], axis: number | readonly number[] | null): tf.Tensor {
  const axes = frontAxes(axis, shape.length);
  return tf.reshape(
    y,
    shape.map((length, i) => (axes.includes(i) ? 1 : length)),
  );
}

const count = (shape: readonly number[], axis: number | readonly number[] | null): number =>
  frontAxes(axis, shape.length).reduce((size, i) => size * shape[i]!, 1);

// Each of several equal extremes gets the whole gradient, as in tfjs.
function extremeGradient(dy: tf.Tensor, x: tf.Tensor, y: tf.Tensor, axis: number | number[]): tf.Tensor {
  return keepWhere(tf.equal(x, keepAxes(y, x.shape, axis)), keepAxes(dy, x.shape, axis));
}

// The product of all others along an axis: of those before times those after. No division, so zeros are fine.
function othersAlong(x: tf.Tensor, axis: number): tf.Tensor {
  return tf.mul(tf.cumprod(x, axis, true, false), tf.cumprod(x, axis, true, true));
}

function productGradient(dy: tf.Tensor, x: tf.Tensor, axis: number | number[]): tf.Tensor {
  const rank = x.shape.length;
  if (rank === 0) return tf.clone(dy);
  const axes = frontAxes(axis, rank);
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const order = [...kept, ...axes];
  const moved = tf.transpose(x, order);
  const flatShape = [...kept.map((i) => x.shape[i]!), axes.reduce((size, i) => size * x.shape[i]!, 1)];
  const others = tf.reshape(othersAlong(tf.reshape(moved, flatShape), kept.length), moved.shape);
  const back = order.map((_, i) => order.indexOf(i));
  return tf.mul(tf.transpose(others, back), keepAxes(dy, x.shape, axis));
}

const index: Gradient = { inputs: ['x'], formula: (_, [x]) => ({ x: () => zeros(x!.shape) }) };

/** Gradients of reductions and scans. */
export const REDUCTION_GRADIENTS: GradientTable = {
  All: index,
  Any: index,
  ArgMax: index,
  ArgMin: index,
  Cumsum: {
    inputs: ['x'],
    formula: (dy: tf.Tensor, _, { axis, exclusive, reverse }: tf.CumsumAttrs) => ({
      x: () => tf.cumsum(dy, axis, exclusive, !reverse),
    }),
  },
  LogSoftmax: {
    outputs: true,
    formula: (dy: tf.Tensor, [y], { axis }: tf.LogSoftmaxAttrs) => ({
      logits: () => tf.sub(dy, tf.mul(tf.sum(dy, axis, true), tf.exp(y!))),
    }),
  },
  Max: {
    inputs: ['x'],
    outputs: true,
    formula: (dy: tf.Tensor, [x, y], { reductionIndices }: tf.MaxAttrs) => ({
      x: () => extremeGradient(dy, x!, y!, reductionIndices),
    }),
  },
  Mean: {
    inputs: ['x'],
    formula: (dy: tf.Tensor, [x], { axis }: tf.MeanAttrs) => ({
      x: () => {
        const each = tf.mul(keepAxes(dy, x!.shape, axis), tf.scalar(1 / count(x!.shape, axis)));
        return tf.broadcastTo(each, x!.shape);
      },
    }),
  },
  Min: {
    inputs: ['x'],
    outputs: true,
    formula: (dy: tf.Tensor, [x, y], { axis }: tf.MinAttrs) => ({ x: () => extremeGradient(dy, x!, y!, axis) }),
  },
  Prod: {
    inputs: ['x'],
    formula: (dy: tf.Tensor, [x], { axis }: tf.ProdAttrs) => ({ x: () => productGradient(dy, x!, axis) }),
  },
  Softmax: {
    outputs: true,
    formula: (dy: tf.Tensor, [y], { dim }: tf.SoftmaxAttrs) => ({
      logits: () => tf.mul(tf.sub(dy, tf.sum(tf.mul(dy, y!), dim, true)), y!),
    }),
  },
  Sum: {
    inputs: ['x'],
    formula: (dy: tf.Tensor, [x], { axis }: tf.SumAttrs) => ({
      x: () => tf.broadcastTo(keepAxes(dy, x!.shape, axis), x!.shape),
    }),
  },
};
