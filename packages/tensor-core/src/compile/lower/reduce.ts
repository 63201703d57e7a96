// Reductions over axes.
import type { GraphValue, OnnxGraph } from '../graph.ts';
import { reshape } from './shape.ts';

/** Shape after reducing `axes` (counted from the front). */
export function reducedShape(shape: readonly number[], axes: readonly number[], keepDims: boolean): number[] {
  return keepDims
    ? shape.map((length, axis) => (axes.includes(axis) ? 1 : length))
    : shape.filter((_, axis) => !axes.includes(axis));
}

/** Applies a reduction operator of ONNX (ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceProd). */
export function reduce(
  graph: OnnxGraph,
  opType: string,
  x: GraphValue,
  axes: readonly number[],
  keepDims: boolean,
): GraphValue {
  const shape = reducedShape(x.shape, axes, keepDims);
  // Axes of length 1 hold nothing to reduce.
  const long = axes.filter((axis) => x.shape[axis] !== 1);
  if (long.length === 0) return reshape(graph, x, shape);
  return reshape(
    graph,
    graph.op(
      opType,
      [x, graph.ints(long)],
      {
        dtype: x.dtype,
        shape: reducedShape(x.shape, long, keepDims),
      },
      { keepdims: { int: keepDims ? 1 : 0 } },
    ),
    shape,
  );
}
