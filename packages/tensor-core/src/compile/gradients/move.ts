// Gradients of kernels that move values: each undoes the move, and sums where a value was used more than once.
import * as tf from '@tensorflow/tfjs-core';
import { frontAxes } from '../lower/shape.ts';
import { sumTo, zeros } from './gradient.ts';
import type { Gradient, GradientTable } from './gradient.ts';

const reshaped: Gradient = { inputs: ['x'], formula: (dy: tf.Tensor, [x]) => ({ x: () => tf.reshape(dy, x!.shape) }) };
const nothing: Gradient = { inputs: ['x'], formula: (_, [x]) => ({ x: () => zeros(x!.shape) }) };

// [n, m] repeated [r, s] times is [r, n, s, m] flattened: sum over r and s.
function tileGradient(dy: tf.Tensor, shape: readonly number[], reps: readonly number[]): tf.Tensor {
  const split = shape.flatMap((length, i) => [reps[i]!, length]);
  const axes = shape.map((_, i) => 2 * i);
  return shape.length === 0 ? tf.clone(dy) : tf.sum(tf.reshape(dy, split), axes);
}

/** Gradients of kernels that move values. */
export const MOVEMENT_GRADIENTS: GradientTable = {
  BroadcastTo: { inputs: ['x'], formula: (dy: tf.Tensor, [x]) => ({ x: () => sumTo(dy, x!.shape) }) },
  Concat: {
    inputs: 'all',
    formula: (dy: tf.Tensor, inputs, { axis }: tf.ConcatAttrs) => {
      const front = frontAxes(axis, dy.shape.length)[0]!;
      const parts = tf.split(
        dy,
        inputs.map(({ shape }) => shape[front]!),
        front,
      );
      return Object.fromEntries(parts.map((part, i) => [i, () => part]));
    },
  },
  ExpandDims: {
    inputs: ['input'],
    formula: (dy: tf.Tensor, [input]) => ({ input: () => tf.reshape(dy, input!.shape) }),
  },
  Identity: { formula: (dy: tf.Tensor) => ({ x: () => tf.clone(dy) }) },
  OnesLike: nothing,
  Pack: {
    formula: (dy: tf.Tensor, _, { axis }: tf.PackAttrs) =>
      Object.fromEntries(tf.unstack(dy, axis).map((part, i) => [i, () => part])),
  },
  PadV2: {
    inputs: ['x'],
    formula: (dy: tf.Tensor, [x], { paddings }: tf.PadV2Attrs) => ({
      x: () =>
        tf.slice(
          dy,
          paddings.map(([before]) => before),
          x!.shape,
        ),
    }),
  },
  Reshape: reshaped,
  Reverse: { formula: (dy: tf.Tensor, _, { dims }: tf.ReverseAttrs) => ({ x: () => tf.reverse(dy, dims) }) },
  Slice: {
    inputs: ['x'],
    formula: (dy: tf.Tensor, [x], { begin, size }: tf.SliceAttrs) => ({
      x: () => {
        const [from, length] = tf.slice_util.parseSliceParams(x!, begin, size);
        if (x!.shape.length === 0) return tf.clone(dy);
        return tf.pad(
          dy,
          from.map((start, i) => [start, x!.shape[i]! - start - length[i]!] as [number, number]),
        );
      },
    }),
  },
  SplitV: {
    formula: (dys: tf.Tensor[], _, { axis }: tf.SplitVAttrs) => ({ x: () => tf.concat(dys, axis) }),
  },
  Tile: {
    inputs: ['x'],
    formula: (dy: tf.Tensor, [x], { reps }: tf.TileAttrs) => ({ x: () => tileGradient(dy, x!.shape, reps) }),
  },
  Transpose: {
    formula: (dy: tf.Tensor, _, { perm }: tf.TransposeAttrs) => ({
      x: () =>
        tf.transpose(
          dy,
          perm.map((_axis, i) => perm.indexOf(i)),
        ),
    }),
  },
  Unpack: {
    formula: (dys: tf.Tensor[], _, { axis }: tf.UnpackAttrs) => ({
      value: () => tf.stack(Array.isArray(dys) ? dys : [dys], axis),
    }),
  },
  ZerosLike: nothing,
};
