// Lowerings that move values without computing: reshape, transpose, expand, slice, concatenation. Chains of them collapse
// here, because gradients written over tfjs produce many that cancel.
import { PithError } from '../../errors/pith-error.ts';
import { sizeOf } from '../onnx/onnx-types.ts';
import type { GraphValue, OnnxGraph } from '../graph.ts';

/** True when two shapes have the same axes. */
export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((length, axis) => length === b[axis]);
}

/** The shape that two shapes broadcast to by the rule of numpy. @throws PithError `GRAPH_BROADCAST` */
export function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new PithError(
        'GRAPH_BROADCAST',
        `broadcast: axes must be equal or 1, got [${a.join()}] and [${b.join()}]`,
        {
          details: { a, b },
        },
      );
    }
    return x === 1 ? y : x;
  });
}

/** Axes counted from the front; `undefined` or `null` means all. */
export function frontAxes(axis: number | readonly number[] | null | undefined, rank: number): number[] {
  if (axis === undefined || axis === null) return Array.from({ length: rank }, (_, i) => i);
  const axes = typeof axis === 'number' ? [axis] : axis;
  return axes.map((a) => (a < 0 ? a + rank : a)).sort((a, b) => a - b);
}

/** The same values, in row-major order, under another shape of the same size. */
export function reshape(graph: OnnxGraph, x: GraphValue, shape: readonly number[]): GraphValue {
  if (sameShape(x.shape, shape)) return x;
  if (x.splat) return graph.splat(x.dtype, shape, Number(x.data![0]));
  if (x.data !== undefined) return graph.constant(x.dtype, shape, x.data);
  const source = x.node?.opType === 'Reshape' ? x.node.inputs[0]! : x;
  if (sameShape(source.shape, shape)) return source;
  const zeros = shape.includes(0) ? { allowzero: { int: 1 } } : {};
  return graph.op('Reshape', [source, graph.ints(shape)], { dtype: x.dtype, shape }, zeros);
}

/** Axis `i` of the result is axis `perm[i]` of `x`. */
export function transpose(graph: OnnxGraph, x: GraphValue, perm: readonly number[]): GraphValue {
  const shape = perm.map((axis) => x.shape[axis]!);
  if (x.splat) return graph.splat(x.dtype, shape, Number(x.data![0]));
  if (x.node?.opType === 'Transpose') {
    const inner = (x.node.attributes['perm'] as { ints: readonly number[] }).ints;
    const both = perm.map((axis) => inner[axis]!);
    return transpose(graph, x.node.inputs[0]!, both);
  }
  // Only axes of length 1 move: the order of the values stays.
  const moved = perm.filter((axis) => x.shape[axis] !== 1);
  if (moved.every((axis, i) => i === 0 || moved[i - 1]! < axis)) return reshape(graph, x, shape);
  return graph.op('Transpose', [x], { dtype: x.dtype, shape }, { perm: { ints: perm } });
}

/** Repeats axes of length 1, and adds axes in front, until `x` has `shape`. */
export function expand(graph: OnnxGraph, x: GraphValue, shape: readonly number[]): GraphValue {
  if (sameShape(x.shape, shape)) return x;
  if (x.splat) return graph.splat(x.dtype, shape, Number(x.data![0]));
  if (sizeOf(x.shape) === sizeOf(shape)) return reshape(graph, x, shape);
  return graph.op('Expand', [narrow(x), graph.ints(shape)], { dtype: x.dtype, shape });
}

/** What `x` was before it was expanded: computing on it and expanding afterwards gives the same values for less. */
export function narrow(x: GraphValue): GraphValue {
  return x.node?.opType === 'Expand' ? x.node.inputs[0]! : x;
}

/** Every `steps[i]`-th index of axis i from `begin[i]` up to `end[i]` (exclusive); steps may be negative. */
export function slice(
  graph: OnnxGraph,
  x: GraphValue,
  begin: readonly number[],
  end: readonly number[],
  steps: readonly number[] = begin.map(() => 1),
): GraphValue {
  const shape = x.shape.map((_, i) => Math.max(0, Math.ceil((end[i]! - begin[i]!) / steps[i]!)));
  if (x.splat) return graph.splat(x.dtype, shape, Number(x.data![0]));
  const axes = x.shape.map((_, i) => i).filter((i) => shape[i] !== x.shape[i] || steps[i] !== 1);
  if (axes.length === 0) return x;
  // An end before index 0 cannot be written as a non-negative number; ONNX clamps a very negative one to "before 0".
  const ends = axes.map((i) => (end[i]! < 0 ? -(2 ** 31) : end[i]!));
  const parts = [axes.map((i) => begin[i]!), ends, axes, axes.map((i) => steps[i]!)].map((list) => graph.ints(list));
  return graph.op('Slice', [x, ...parts], { dtype: x.dtype, shape });
}

/** Joins values along an axis. */
export function concat(graph: OnnxGraph, parts: readonly GraphValue[], axis: number): GraphValue {
  const first = parts[0]!;
  const full = parts.filter((part) => sizeOf(part.shape) > 0);
  if (full.length === 1 && parts.length > 0) return full[0]!;
  const shape = [...first.shape];
  shape[axis] = parts.reduce((sum, part) => sum + part.shape[axis]!, 0);
  return graph.op('Concat', full.length > 0 ? full : parts, { dtype: first.dtype, shape }, { axis: { int: axis } });
}
