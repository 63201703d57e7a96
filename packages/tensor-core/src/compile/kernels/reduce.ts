// Reductions, softmax, scans along an axis.
import type {
  ArgMaxAttrs,
  CumsumAttrs,
  LogSoftmaxAttrs,
  MaxAttrs,
  SoftmaxAttrs,
  SumAttrs,
  TopKAttrs,
} from '@tensorflow/tfjs-core';
import type { GraphValue, OnnxGraph } from '../graph.ts';
import { cast, mul } from '../lower/elementwise.ts';
import { reduce } from '../lower/reduce.ts';
import { concat, frontAxes, slice } from '../lower/shape.ts';
import { requireDType } from './kernel.ts';
import type { KernelLowering, KernelTable } from './kernel.ts';

const overAxes =
  (kernel: string, opType: string): KernelLowering =>
  (graph, { x }, { axis, keepDims }: SumAttrs) => {
    requireDType(kernel, x!, 'f32', 'i32');
    return reduce(graph, opType, x!, frontAxes(axis, x!.shape.length), keepDims);
  };

// Booleans are reduced as integers.
const logical =
  (opType: string): KernelLowering =>
  (graph, { x }, { axis, keepDims }: SumAttrs) => {
    const integers = cast(graph, cast(graph, x!, 'bool'), 'i32');
    return cast(graph, reduce(graph, opType, integers, frontAxes(axis, x!.shape.length), keepDims), 'bool');
  };

// The first of equal values wins, as in tfjs.
const argExtreme =
  (opType: string): KernelLowering =>
  (graph, { x }, attributes: ArgMaxAttrs) => {
    const axis = frontAxes(attributes.axis, x!.shape.length)[0]!;
    const values = x!.dtype === 'bool' ? cast(graph, x!, 'i32') : x!;
    const shape = values.shape.filter((_, i) => i !== axis);
    const index = graph.op(opType, [values], { dtype: 'i64', shape }, { axis: { int: axis }, keepdims: { int: 0 } });
    return cast(graph, index, 'i32');
  };

function softmax(graph: OnnxGraph, opType: string, x: GraphValue, axis: number): GraphValue {
  const [front] = frontAxes(axis, x.shape.length);
  if (front === undefined) return graph.splat(x.dtype, x.shape, opType === 'Softmax' ? 1 : 0);
  return graph.op(opType, [x], { dtype: x.dtype, shape: x.shape }, { axis: { int: front } });
}

function cumulativeSum(graph: OnnxGraph, x: GraphValue, { axis, exclusive, reverse }: CumsumAttrs): GraphValue {
  requireDType('Cumsum', x, 'f32', 'i32');
  const [front] = frontAxes(axis, x.shape.length);
  if (front === undefined) return exclusive ? graph.splat(x.dtype, [], 0) : x;
  return graph.op('CumSum', [x, graph.scalar('i32', front)], x, {
    exclusive: { int: exclusive ? 1 : 0 },
    reverse: { int: reverse ? 1 : 0 },
  });
}

// ONNX's operator set 21 has no running product: products over 1, 2, 4, ... neighbours double until they span the axis.
function cumulativeProduct(graph: OnnxGraph, x: GraphValue, { axis, exclusive, reverse }: CumsumAttrs): GraphValue {
  requireDType('Cumprod', x, 'f32', 'i32');
  const [front] = frontAxes(axis, x.shape.length);
  if (front === undefined) return exclusive ? graph.splat(x.dtype, [], 1) : x;
  const length = x.shape[front]!;
  const shifted = (value: GraphValue, by: number): GraphValue => {
    const kept = Math.max(0, length - by);
    const ones = graph.splat(
      x.dtype,
      x.shape.map((n, i) => (i === front ? length - kept : n)),
      1,
    );
    const begin = x.shape.map((_, i) => (i === front && reverse ? length - kept : 0));
    const end = x.shape.map((n, i) => (i === front && !reverse ? kept : n));
    const rest = slice(graph, value, begin, end);
    return concat(graph, reverse ? [rest, ones] : [ones, rest], front);
  };
  let product = exclusive ? shifted(x, 1) : x;
  for (let by = 1; by < length; by *= 2) product = mul(graph, product, shifted(product, by));
  return product;
}

function topK(graph: OnnxGraph, x: GraphValue, { k, sorted }: TopKAttrs): readonly GraphValue[] {
  requireDType('TopK', x, 'f32', 'i32');
  const rank = x.shape.length;
  const shape = [...x.shape.slice(0, -1), k];
  const [values, indices] = graph.node(
    'TopK',
    [x, graph.ints([k])],
    [
      { dtype: x.dtype, shape },
      { dtype: 'i64', shape },
    ],
    { axis: { int: rank - 1 }, largest: { int: 1 }, sorted: { int: sorted ? 1 : 0 } },
  );
  return [values!, cast(graph, indices!, 'i32')];
}

/** Kernels that reduce or scan along axes. */
export const REDUCTIONS: KernelTable = {
  All: logical('ReduceMin'),
  Any: logical('ReduceMax'),
  ArgMax: argExtreme('ArgMax'),
  ArgMin: argExtreme('ArgMin'),
  Cumprod: (graph, { x }, attributes: CumsumAttrs) => cumulativeProduct(graph, x!, attributes),
  Cumsum: (graph, { x }, attributes: CumsumAttrs) => cumulativeSum(graph, x!, attributes),
  LogSoftmax: (graph, { logits }, { axis }: LogSoftmaxAttrs) => softmax(graph, 'LogSoftmax', logits!, axis),
  // Of all reductions, tfjs calls the axes of this one otherwise.
  Max: (graph, { x }, { reductionIndices, keepDims }: MaxAttrs) =>
    overAxes('Max', 'ReduceMax')(graph, { x: x! }, { axis: reductionIndices, keepDims }),
  // tfjs means integers as floats.
  Mean: (graph, { x }, { axis, keepDims }: SumAttrs) =>
    reduce(graph, 'ReduceMean', cast(graph, x!, 'f32'), frontAxes(axis, x!.shape.length), keepDims),
  Min: overAxes('Min', 'ReduceMin'),
  Prod: overAxes('Prod', 'ReduceProd'),
  Softmax: (graph, { logits }, { dim }: SoftmaxAttrs) => softmax(graph, 'Softmax', logits!, dim),
  Sum: overAxes('Sum', 'ReduceSum'),
  TopK: (graph, { x }, attributes: TopKAttrs) => topK(graph, x!, attributes),
};
