// Lowerings that compute element by element. Operands are narrowed first (a broadcast result is expanded after the
// operator, and usually absorbed by the next one); splats of f32 are folded with the rounding of f32; x*1, x/1, x+0 and
// x-0 are x.
import type { HostDType } from '../../device/device.ts';
import type { Attributes, GraphValue, OnnxGraph } from '../graph.ts';
import { ONNX_TYPE } from '../onnx/onnx-types.ts';
import { broadcastShape, expand, narrow, sameShape } from './shape.ts';

/** Applies a unary ONNX operator; the dtype stays unless given. */
export function unary(graph: OnnxGraph, opType: string, x: GraphValue, dtype: HostDType = x.dtype): GraphValue {
  const base = small(graph, x);
  return expand(graph, graph.op(opType, [base], { dtype, shape: base.shape }), x.shape);
}

/** Applies a binary ONNX operator with broadcasting; the dtype is that of `a` unless given. */
export function binary(
  graph: OnnxGraph,
  opType: string,
  a: GraphValue,
  b: GraphValue,
  dtype: HostDType = a.dtype,
  attributes: Attributes = {},
): GraphValue {
  const shape = broadcastShape(a.shape, b.shape);
  const folded = fold(graph, opType, a, b, shape);
  if (folded !== undefined) return folded;
  const x = small(graph, a);
  const y = small(graph, b);
  return expand(graph, graph.op(opType, [x, y], { dtype, shape: broadcastShape(x.shape, y.shape) }, attributes), shape);
}

/** a + b */
export function add(graph: OnnxGraph, a: GraphValue, b: GraphValue): GraphValue {
  const [x, y] = [negated(a), negated(b)];
  if (y !== undefined) return binary(graph, 'Sub', a, y);
  return x === undefined ? binary(graph, 'Add', a, b) : binary(graph, 'Sub', b, x);
}
/** a - b */
export function sub(graph: OnnxGraph, a: GraphValue, b: GraphValue): GraphValue {
  const y = negated(b);
  return y === undefined ? binary(graph, 'Sub', a, b) : binary(graph, 'Add', a, y);
}
/** a * b */
export const mul = (graph: OnnxGraph, a: GraphValue, b: GraphValue): GraphValue => binary(graph, 'Mul', a, b);
/** a / b */
export const div = (graph: OnnxGraph, a: GraphValue, b: GraphValue): GraphValue => binary(graph, 'Div', a, b);

/** Elements of `a` where `condition` holds, of `b` elsewhere. */
export function where(graph: OnnxGraph, condition: GraphValue, a: GraphValue, b: GraphValue): GraphValue {
  const shape = broadcastShape(condition.shape, broadcastShape(a.shape, b.shape));
  const [c, x, y] = [small(graph, condition), small(graph, a), small(graph, b)];
  const inner = broadcastShape(c.shape, broadcastShape(x.shape, y.shape));
  return expand(graph, graph.op('Where', [c, x, y], { dtype: a.dtype, shape: inner }), shape);
}

/** Another dtype. Floats become integers by truncation; anything but zero becomes true. */
export function cast(graph: OnnxGraph, x: GraphValue, dtype: HostDType): GraphValue {
  if (x.dtype === dtype) return x;
  // What began as a boolean is 0 or 1 whatever it was cast to on the way.
  const source = x.node?.opType === 'Cast' ? x.node.inputs[0]! : x;
  const base = small(graph, source.dtype === 'bool' ? source : x);
  if (base.dtype === dtype) return expand(graph, base, x.shape);
  return expand(
    graph,
    graph.op('Cast', [base], { dtype, shape: base.shape }, { to: { int: ONNX_TYPE[dtype] } }),
    x.shape,
  );
}

/** What `x` is the negative of, where it was made by negation. */
function negated(x: GraphValue): GraphValue | undefined {
  return x.node?.opType === 'Neg' ? x.node.inputs[0] : undefined;
}

/** The single value of a splat, else undefined. */
export function splatValue(x: GraphValue): number | undefined {
  return x.splat ? Number(x.data![0]) : undefined;
}

/** The least value that broadcasts to `x`: the scalar of a splat, the operand of an Expand, without axes of 1 in front. */
function small(graph: OnnxGraph, x: GraphValue): GraphValue {
  if (x.splat && x.shape.length > 0) return graph.splat(x.dtype, [], Number(x.data![0]));
  const base = narrow(x);
  const source = base.node?.opType === 'Reshape' ? base.node.inputs[0]! : undefined;
  const lead = base.shape.findIndex((length) => length !== 1);
  return source !== undefined && lead > 0 && sameShape(source.shape, base.shape.slice(lead)) ? source : base;
}

const FOLDED: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
};

function fold(
  graph: OnnxGraph,
  opType: string,
  a: GraphValue,
  b: GraphValue,
  shape: readonly number[],
): GraphValue | undefined {
  const compute = FOLDED[opType];
  if (compute === undefined) return undefined;
  const x = splatValue(a);
  const y = splatValue(b);
  const isFloat = a.dtype === 'f32' || a.dtype === 'f64';
  if (x !== undefined && y !== undefined && isFloat) {
    // One operation in f64 rounded to f32 is the f32 operation, for these four.
    const value = compute(x, y);
    return graph.splat(a.dtype, shape, a.dtype === 'f32' ? Math.fround(value) : value);
  }
  const neutral = opType === 'Mul' || opType === 'Div' ? 1 : 0;
  if (y === neutral) return expand(graph, a, shape);
  if (x === neutral && (opType === 'Add' || opType === 'Mul')) return expand(graph, b, shape);
  return undefined;
}
