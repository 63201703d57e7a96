// Kernels that read or write by index. ONNX Runtime wants int64 indices for GatherND and
// ScatterND.
import { backend_util } from '@tensorflow/tfjs-core';
import type {
  DenseBincountAttrs,
  GatherV2Attrs,
  OneHotAttrs,
  ScatterNdAttrs,
  Tensor,
  UnsortedSegmentSumAttrs,
} from '@tensorflow/tfjs-core';
import type { GraphValue, OnnxGraph } from '../graph.ts';
import { sizeOf } from '../onnx/onnx-types.ts';
import { binary, cast, where } from '../lower/elementwise.ts';
import { reduce } from '../lower/reduce.ts';
import { expand, reshape, transpose } from '../lower/shape.ts';
import { graphDType } from './kernel.ts';
import type { KernelTable } from './kernel.ts';

function gather(graph: OnnxGraph, x: GraphValue, indices: GraphValue, attributes: GatherV2Attrs): GraphValue {
  const { batchDims } = attributes;
  const axis = attributes.axis < 0 ? attributes.axis + x.shape.length : attributes.axis;
  if (batchDims === 0) {
    const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
    return graph.op('Gather', [x, indices], { dtype: x.dtype, shape }, { axis: { int: axis } });
  }
  const asTensor = (value: GraphValue): Tensor =>
    ({ shape: [...value.shape], rank: value.shape.length }) as unknown as Tensor;
  const info = backend_util.segment_util.collectGatherOpShapeInfo(asTensor(x), asTensor(indices), axis, batchDims);
  const { batchSize: batch, outerSize: outer, dimSize, sliceSize } = info;
  const each = sizeOf(indices.shape) / batch;
  const rows = transpose(graph, reshape(graph, x, [batch, outer, dimSize, sliceSize]), [0, 2, 1, 3]);
  const at = reshape(graph, cast(graph, indices, 'i64'), [batch, each, 1]);
  const type = { dtype: x.dtype, shape: [batch, each, outer, sliceSize] };
  const picked = graph.op('GatherND', [rows, at], type, { batch_dims: { int: 1 } });
  return reshape(graph, transpose(graph, picked, [0, 2, 1, 3]), info.outputShape);
}

function gatherNd(graph: OnnxGraph, params: GraphValue, indices: GraphValue): GraphValue {
  const depth = indices.shape.at(-1)!;
  const shape = [...indices.shape.slice(0, -1), ...params.shape.slice(depth)];
  return graph.op('GatherND', [params, cast(graph, indices, 'i64')], { dtype: params.dtype, shape });
}

function update(graph: OnnxGraph, into: GraphValue, indices: GraphValue, updates: GraphValue): GraphValue {
  const at = cast(graph, indices, 'i64');
  return graph.op('ScatterND', [into, at, updates], into, { reduction: { string: 'none' } });
}

// Zeros of `shape` with `updates` added at `indices` [..., depth]; repeated indices add up, in their order. ScatterND could
// add by itself, but ONNX Runtime then lets its threads write to one row at a time without a lock, and additions are lost;
// ScatterElements runs on one thread.
function scatterNd(graph: OnnxGraph, indices: GraphValue, updates: GraphValue, shape: readonly number[]): GraphValue {
  const depth = indices.shape.at(-1)!;
  const count = sizeOf(indices.shape.slice(0, -1));
  const rows = sizeOf(shape.slice(0, depth));
  const width = sizeOf(shape.slice(depth));
  if (count === 0 || rows * width === 0) return graph.splat(updates.dtype, shape, 0);
  const strides = shape.slice(0, depth).map((_, axis) => sizeOf(shape.slice(axis + 1, depth)));
  const weighted = binary(graph, 'Mul', indices, graph.constant('i32', [depth], Int32Array.from(strides)));
  const flat = reshape(graph, reduce(graph, 'ReduceSum', weighted, [indices.shape.length - 1], false), [count, 1]);
  const table = graph.op(
    'ScatterElements',
    [
      graph.splat(updates.dtype, [rows, width], 0),
      expand(graph, flat, [count, width]),
      reshape(graph, updates, [count, width]),
    ],
    { dtype: updates.dtype, shape: [rows, width] },
    { axis: { int: 0 }, reduction: { string: 'add' } },
  );
  return reshape(graph, table, shape);
}

// Rows whose segment is out of range are dropped: they are added to segment 0 as zeros.
function segmentSum(graph: OnnxGraph, x: GraphValue, ids: GraphValue, segments: number): GraphValue {
  const rowShape = x.shape.slice(ids.shape.length);
  const inside = binary(
    graph,
    'And',
    binary(graph, 'GreaterOrEqual', ids, graph.scalar('i32', 0), 'bool'),
    binary(graph, 'Less', ids, graph.scalar('i32', segments), 'bool'),
  );
  const safe = where(graph, inside, ids, graph.scalar('i32', 0));
  const mask = reshape(graph, inside, [...ids.shape, ...rowShape.map(() => 1)]);
  const rows = where(graph, mask, x, graph.scalar(x.dtype, 0));
  return scatterNd(graph, reshape(graph, safe, [...ids.shape, 1]), rows, [segments, ...rowShape]);
}

// By comparison: an index that is out of range has no `on` value, where ONNX's OneHot counts negative ones from the end.
function oneHot(graph: OnnxGraph, indices: GraphValue, attributes: OneHotAttrs): GraphValue {
  const { depth, onValue, offValue } = attributes;
  const dtype = graphDType(attributes.dtype);
  const counts = graph.constant(
    'i32',
    [depth],
    Int32Array.from({ length: depth }, (_, i) => i),
  );
  const hit = binary(graph, 'Equal', reshape(graph, indices, [...indices.shape, 1]), counts, 'bool');
  if (onValue === 1 && offValue === 0) return cast(graph, hit, dtype);
  return where(graph, hit, graph.scalar(dtype, onValue), graph.scalar(dtype, offValue));
}

// Values at or above `size` are dropped; each row of a matrix is counted on its own.
function denseBincount(
  graph: OnnxGraph,
  x: GraphValue,
  weights: GraphValue | undefined,
  { size, binaryOutput }: DenseBincountAttrs,
): GraphValue {
  const hasWeights = weights !== undefined && sizeOf(weights.shape) > 0;
  const hot = oneHot(graph, x, { depth: size, onValue: 1, offValue: 0, dtype: 'float32' });
  const axis = x.shape.length - 1;
  const shape = [...x.shape.slice(0, -1), size];
  const reduceAttributes = { keepdims: { int: 0 } };
  if (binaryOutput === true) {
    return graph.op('ReduceMax', [hot, graph.ints([axis])], { dtype: 'f32', shape }, reduceAttributes);
  }
  const each = hasWeights
    ? binary(graph, 'Mul', hot, reshape(graph, cast(graph, weights, 'f32'), [...x.shape, 1]))
    : hot;
  const counts = graph.op('ReduceSum', [each, graph.ints([axis])], { dtype: 'f32', shape }, reduceAttributes);
  return cast(graph, counts, weights?.dtype ?? 'f32');
}

/** Kernels that read or write by index. */
export const INDEXING: KernelTable = {
  Bincount: (graph, { x, weights }, { size }: { size: number }) => denseBincount(graph, x!, weights, { size }),
  DenseBincount: (graph, { x, weights }, attributes: DenseBincountAttrs) =>
    denseBincount(graph, x!, weights, attributes),
  GatherNd: (graph, { params, indices }) => gatherNd(graph, params!, indices!),
  GatherV2: (graph, { x, indices }, attributes: GatherV2Attrs) => gather(graph, x!, indices!, attributes),
  OneHot: (graph, { indices }, attributes: OneHotAttrs) => oneHot(graph, indices!, attributes),
  ScatterNd: (graph, { indices, updates }, { shape }: ScatterNdAttrs) => scatterNd(graph, indices!, updates!, shape),
  TensorScatterUpdate: (graph, { tensor, indices, updates }) => update(graph, tensor!, indices!, updates!),
  UnsortedSegmentSum: (graph, { x, segmentIds }, { numSegments }: UnsortedSegmentSumAttrs) =>
    segmentSum(graph, x!, segmentIds!, numSegments),
};
