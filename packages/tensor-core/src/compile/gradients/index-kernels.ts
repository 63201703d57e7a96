// Gradients of kernels that read or write by index: reading becomes adding, writing becomes reading.
import * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '../onnx/onnx-types.ts';
import { zeros } from './gradient.ts';
import type { GradientTable } from './gradient.ts';

// The gathered axis is brought to the front, rows are added up by index, and the axis goes back.
function gatherGradient(dy: tf.Tensor, x: tf.Tensor, indices: tf.Tensor, attributes: tf.GatherV2Attrs): tf.Tensor {
  const axis = attributes.axis < 0 ? attributes.axis + x.shape.length : attributes.axis;
  const { batchDims } = attributes;
  const batch = sizeOf(x.shape.slice(0, batchDims));
  const outer = sizeOf(x.shape.slice(batchDims, axis));
  const length = x.shape[axis]!;
  const inner = sizeOf(x.shape.slice(axis + 1));
  const each = sizeOf(indices.shape) / batch;
  const rows = tf.reshape(tf.transpose(tf.reshape(dy, [batch, outer, each, inner]), [0, 2, 1, 3]), [
    batch * each,
    outer * inner,
  ]);
  // Each member of the batch has rows of its own in one long table.
  const offsets = tf.tensor(
    Int32Array.from({ length: batch }, (_, i) => i * length),
    [batch, 1],
    'int32',
  );
  const ids = tf.reshape(tf.add(tf.reshape(indices, [batch, each]), offsets), [batch * each]);
  const table = tf.unsortedSegmentSum(rows, ids as tf.Tensor1D, batch * length);
  return tf.reshape(tf.transpose(tf.reshape(table, [batch, length, outer, inner]), [0, 2, 1, 3]), x.shape);
}

// Rows of a segment that does not exist were dropped: their gradient is zero.
function segmentGradient(dy: tf.Tensor, ids: tf.Tensor, shape: readonly number[], segments: number): tf.Tensor {
  const inside = tf.logicalAnd(tf.greaterEqual(ids, tf.scalar(0, 'int32')), tf.less(ids, tf.scalar(segments, 'int32')));
  const safe = tf.where(inside, ids, tf.zerosLike(ids));
  const mask = tf.reshape(tf.cast(inside, 'float32'), [...ids.shape, ...shape.slice(ids.shape.length).map(() => 1)]);
  return tf.mul(tf.gather(dy, safe as tf.Tensor1D), mask);
}

/** Gradients of kernels that read or write by index. */
export const INDEXING_GRADIENTS: GradientTable = {
  GatherNd: {
    inputs: ['params', 'indices'],
    formula: (dy: tf.Tensor, [params, indices]) => ({
      params: () => tf.scatterND(indices!, dy, params!.shape),
      indices: () => zeros(indices!.shape),
    }),
  },
  GatherV2: {
    inputs: ['x', 'indices'],
    formula: (dy: tf.Tensor, [x, indices], attributes: tf.GatherV2Attrs) => ({
      x: () => gatherGradient(dy, x!, indices!, attributes),
      indices: () => zeros(indices!.shape),
    }),
  },
  OneHot: { inputs: ['indices'], formula: (_, [indices]) => ({ indices: () => zeros(indices!.shape) }) },
  ScatterNd: {
    inputs: ['indices'],
    formula: (dy: tf.Tensor, [indices]) => ({
      indices: () => zeros(indices!.shape),
      updates: () => tf.gatherND(dy, indices!),
    }),
  },
  TensorScatterUpdate: {
    inputs: ['indices', 'updates'],
    formula: (dy: tf.Tensor, [indices, updates]) => ({
      tensor: () => tf.tensorScatterUpdate(dy, indices!, tf.zerosLike(updates!)),
      indices: () => zeros(indices!.shape),
      updates: () => tf.gatherND(dy, indices!),
    }),
  },
  UnsortedSegmentSum: {
    inputs: ['x', 'segmentIds'],
    formula: (dy: tf.Tensor, [x, ids], { numSegments }: tf.UnsortedSegmentSumAttrs) => ({
      x: () => segmentGradient(dy, ids!, x!.shape, numSegments),
      segmentIds: () => zeros(ids!.shape),
    }),
  },
};
