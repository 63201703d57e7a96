// Kernels that move or make values without computing.
import { slice_util, backend_util } from '@tensorflow/tfjs-core';
import type {
  BroadCastToAttrs,
  ConcatAttrs,
  ExpandDimsAttrs,
  FillAttrs,
  LinSpaceAttrs,
  MirrorPadAttrs,
  PackAttrs,
  PadV2Attrs,
  RangeAttrs,
  ReshapeAttrs,
  ReverseAttrs,
  SliceAttrs,
  SplitVAttrs,
  StridedSliceAttrs,
  Tensor,
  TileAttrs,
  TransposeAttrs,
  UnpackAttrs,
} from '@tensorflow/tfjs-core';
import type { GraphValue, OnnxGraph } from '../graph.ts';
import { hostArray, sizeOf } from '../onnx/onnx-types.ts';
import { cast, where } from '../lower/elementwise.ts';
import { concat, expand, frontAxes, reshape, slice, transpose } from '../lower/shape.ts';
import { graphDType } from './kernel.ts';
import type { KernelTable } from './kernel.ts';

// tfjs's helpers read the shape and the rank of a tensor, nothing else.
const shapeOnly = (x: GraphValue): Tensor => ({ shape: [...x.shape], rank: x.shape.length }) as unknown as Tensor;

function sliceKernel(graph: OnnxGraph, x: GraphValue, attributes: SliceAttrs): GraphValue {
  const [begin, size] = slice_util.parseSliceParams(shapeOnly(x), attributes.begin, attributes.size);
  return slice(
    graph,
    x,
    begin,
    begin.map((start, axis) => start + size[axis]!),
  );
}

function stridedSlice(graph: OnnxGraph, x: GraphValue, attributes: StridedSliceAttrs): GraphValue {
  const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } = attributes;
  const info = slice_util.sliceInfo(
    [...x.shape],
    begin,
    end,
    strides,
    beginMask,
    endMask,
    ellipsisMask,
    newAxisMask,
    shrinkAxisMask,
  );
  const dense = reshape(graph, x, x.shape);
  if (info.isIdentity) return reshape(graph, dense, info.finalShape);
  if (sizeOf(info.finalShape) === 0) return graph.constant(x.dtype, info.finalShape, hostArray(x.dtype, 0));
  return reshape(graph, slice(graph, dense, info.begin, info.end, info.strides), info.finalShape);
}

function split(graph: OnnxGraph, x: GraphValue, sizes: readonly number[], axis: number): GraphValue[] {
  let offset = 0;
  return sizes.map((size) => {
    const begin = x.shape.map((_, i) => (i === axis ? offset : 0));
    const end = x.shape.map((length, i) => (i === axis ? offset + size : length));
    offset += size;
    return slice(graph, x, begin, end);
  });
}

function pad(graph: OnnxGraph, x: GraphValue, { paddings, constantValue }: PadV2Attrs): GraphValue {
  const shape = x.shape.map((length, i) => length + paddings[i]![0] + paddings[i]![1]);
  if (sizeOf(x.shape) === sizeOf(shape)) return x;
  if (sizeOf(x.shape) === 0) return graph.splat(x.dtype, shape, constantValue);
  const pads = graph.ints([...paddings.map(([before]) => before), ...paddings.map(([, after]) => after)]);
  const fill = graph.scalar(x.dtype, constantValue);
  return graph.op('Pad', [x, pads, fill], { dtype: x.dtype, shape }, { mode: { string: 'constant' } });
}

// One gather of mirrored indices for each padded axis; `symmetric` repeats the edge, `reflect` does not.
function mirrorPad(graph: OnnxGraph, x: GraphValue, { paddings, mode }: MirrorPadAttrs): GraphValue {
  const edge = mode === 'reflect' ? 0 : 1;
  return paddings.reduce((value, [before, after], axis) => {
    if (before === 0 && after === 0) return value;
    const length = value.shape[axis]!;
    const indices = Array.from({ length: before + length + after }, (_, i) => {
      const at = i - before;
      if (at < 0) return -at - edge;
      return at < length ? at : 2 * (length - 1) - at + edge;
    });
    const shape = value.shape.map((n, i) => (i === axis ? indices.length : n));
    return graph.op('Gather', [value, graph.ints(indices)], { dtype: x.dtype, shape }, { axis: { int: axis } });
  }, x);
}

function reverse(graph: OnnxGraph, x: GraphValue, dims: number | number[]): GraphValue {
  const axes = frontAxes(dims, x.shape.length).filter((axis) => x.shape[axis]! > 1);
  if (axes.length === 0) return x;
  const begin = x.shape.map((length, axis) => (axes.includes(axis) ? length - 1 : 0));
  const end = x.shape.map((length, axis) => (axes.includes(axis) ? -1 : length));
  return slice(
    graph,
    x,
    begin,
    end,
    x.shape.map((_, axis) => (axes.includes(axis) ? -1 : 1)),
  );
}

function tile(graph: OnnxGraph, x: GraphValue, reps: readonly number[]): GraphValue {
  const shape = x.shape.map((length, axis) => length * reps[axis]!);
  if (x.shape.every((length, axis) => length === 1 || reps[axis] === 1)) return expand(graph, x, shape);
  return graph.op('Tile', [x, graph.ints(reps)], { dtype: x.dtype, shape });
}

// tfjs adds the step again and again in the dtype of the result; so do these two.
function range(graph: OnnxGraph, { start, stop, step, dtype }: RangeAttrs): GraphValue {
  const away = start === stop || (start < stop && step < 0) || (stop < start && step > 1);
  const length = away ? 0 : Math.abs(Math.ceil((stop - start) / step));
  const data = dtype === 'int32' ? new Int32Array(length) : new Float32Array(length);
  // A descending range without a step goes down by one.
  const stride = stop < start && step === 1 ? -1 : step;
  if (length > 0) data[0] = start;
  for (let i = 1; i < length; i++) data[i] = data[i - 1]! + stride;
  return graph.constant(graphDType(dtype), [length], data);
}

function linspace(graph: OnnxGraph, { start, stop, num }: LinSpaceAttrs): GraphValue {
  const data = new Float32Array(num);
  const step = (stop - start) / (num - 1);
  data[0] = start;
  for (let i = 1; i < num; i++) data[i] = data[i - 1]! + step;
  return graph.constant('f32', [num], data);
}

function pack(graph: OnnxGraph, parts: readonly GraphValue[], axis: number): GraphValue {
  const shape = [...parts[0]!.shape];
  shape.splice(axis < 0 ? axis + shape.length + 1 : axis, 0, 1);
  const rows = parts.map((part) => reshape(graph, part, shape));
  return concat(graph, rows, axis < 0 ? axis + shape.length : axis);
}

function unpack(graph: OnnxGraph, value: GraphValue, axis: number): GraphValue[] {
  const front = axis < 0 ? axis + value.shape.length : axis;
  const shape = value.shape.filter((_, i) => i !== front);
  const ones = Array.from({ length: value.shape[front]! }, () => 1);
  return split(graph, value, ones, front).map((part) => reshape(graph, part, shape));
}

function diagonal(graph: OnnxGraph, x: GraphValue): GraphValue {
  const n = sizeOf(x.shape);
  const eye = new Uint8Array(n * n);
  for (let i = 0; i < n; i++) eye[i * n + i] = 1;
  const flat = reshape(graph, x, [n]);
  const matrix = where(graph, graph.constant('bool', [n, n], eye), flat, graph.scalar(x.dtype, 0));
  return reshape(graph, matrix, [...x.shape, ...x.shape]);
}

/** Kernels that move or make values. */
export const MOVEMENTS: KernelTable = {
  BroadcastTo: (graph, { x }, { shape }: BroadCastToAttrs) => {
    // Axes that the target leaves out in front count as 1.
    const aligned = [...Array.from({ length: shape.length - x!.shape.length }, () => 1), ...x!.shape];
    return expand(graph, reshape(graph, x!, aligned), shape);
  },
  Concat: (graph, inputs, { axis }: ConcatAttrs) => {
    const parts = Object.values(inputs);
    return concat(graph, parts, frontAxes(axis, parts[0]!.shape.length)[0]!);
  },
  Diag: (graph, { x }) => diagonal(graph, x!),
  ExpandDims: (graph, { input }, { dim }: ExpandDimsAttrs) => {
    const shape = [...input!.shape];
    shape.splice(dim < 0 ? dim + shape.length + 1 : dim, 0, 1);
    return reshape(graph, input!, shape);
  },
  Fill: (graph, _, { shape, value, dtype }: FillAttrs) => graph.splat(graphDType(dtype), shape, Number(value)),
  Identity: (_, { x }) => x!,
  LinSpace: (graph, _, attributes: LinSpaceAttrs) => linspace(graph, attributes),
  MirrorPad: (graph, { x }, attributes: MirrorPadAttrs) => mirrorPad(graph, x!, attributes),
  OnesLike: (graph, { x }) => graph.splat(x!.dtype, x!.shape, 1),
  Pack: (graph, inputs, { axis }: PackAttrs) => pack(graph, Object.values(inputs), axis),
  PadV2: (graph, { x }, attributes: PadV2Attrs) =>
    x!.dtype === 'bool'
      ? cast(graph, pad(graph, cast(graph, x!, 'i32'), attributes), 'bool')
      : pad(graph, x!, attributes),
  Range: (graph, _, attributes: RangeAttrs) => range(graph, attributes),
  Reshape: (graph, { x }, { shape }: ReshapeAttrs) => {
    const known = shape.reduce((size, length) => (length === -1 ? size : size * length), 1);
    const size = sizeOf(x!.shape);
    return reshape(
      graph,
      x!,
      shape.map((length) => (length === -1 ? size / known : length)),
    );
  },
  Reverse: (graph, { x }, { dims }: ReverseAttrs) => reverse(graph, x!, dims),
  Slice: (graph, { x }, attributes: SliceAttrs) => sliceKernel(graph, x!, attributes),
  SplitV: (graph, { x }, { numOrSizeSplits, axis }: SplitVAttrs) => {
    const front = frontAxes(axis, x!.shape.length)[0]!;
    return split(graph, x!, backend_util.prepareSplitSize(shapeOnly(x!), numOrSizeSplits, front), front);
  },
  StridedSlice: (graph, { x }, attributes: StridedSliceAttrs) => stridedSlice(graph, x!, attributes),
  Tile: (graph, { x }, { reps }: TileAttrs) => tile(graph, x!, reps),
  Transpose: (graph, { x }, { perm }: TransposeAttrs) => transpose(graph, x!, perm),
  Unpack: (graph, { value }, { axis }: UnpackAttrs) => unpack(graph, value!, axis),
  ZerosLike: (graph, { x }) => graph.splat(x!.dtype, x!.shape, 0),
};
