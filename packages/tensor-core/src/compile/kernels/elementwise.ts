// Unary, binary, comparison and logical kernels. Where ONNX has no operator, or one that is less exact near zero or differs
// from tfjs in the sign of a remainder, the kernel is composed.
import type { LeakyReluAttrs, ClipByValueAttrs, CastAttrs, StepAttrs } from '@tensorflow/tfjs-core';
import type { GraphValue, OnnxGraph } from '../graph.ts';
import { add, binary, cast, div, mul, splatValue, sub, unary, where } from '../lower/elementwise.ts';
import { reshape } from '../lower/shape.ts';
import { graphDType, requireDType } from './kernel.ts';
import type { KernelLowering, KernelTable } from './kernel.ts';

const number = (graph: OnnxGraph, like: GraphValue, value: number): GraphValue => graph.scalar(like.dtype, value);

const viaOperator =
  (opType: string): KernelLowering =>
  (graph, { x }) =>
    unary(graph, opType, x!);

const arithmetic =
  (kernel: string, compute: (graph: OnnxGraph, a: GraphValue, b: GraphValue) => GraphValue): KernelLowering =>
  (graph, { a, b }) => {
    requireDType(kernel, a!, 'f32', 'i32');
    return compute(graph, a!, b!);
  };

// Booleans are compared as integers.
const comparison =
  (opType: string): KernelLowering =>
  (graph, { a, b }) =>
    binary(graph, opType, ordered(graph, a!), ordered(graph, b!), 'bool');

const ordered = (graph: OnnxGraph, x: GraphValue): GraphValue => (x.dtype === 'bool' ? cast(graph, x, 'i32') : x);

const logical =
  (opType: string): KernelLowering =>
  (graph, { a, b }) =>
    binary(graph, opType, cast(graph, a!, 'bool'), cast(graph, b!, 'bool'), 'bool');

const floatTest =
  (test: (graph: OnnxGraph, x: GraphValue) => GraphValue, forIntegers: number): KernelLowering =>
  (graph, { x }) =>
    x!.dtype === 'f32' ? test(graph, x!) : graph.splat('bool', x!.shape, forIntegers);

const isInfinite = (graph: OnnxGraph, x: GraphValue): GraphValue => unary(graph, 'IsInf', x, 'bool');
const isNaN = (graph: OnnxGraph, x: GraphValue): GraphValue => unary(graph, 'IsNaN', x, 'bool');
const not = (graph: OnnxGraph, x: GraphValue): GraphValue => unary(graph, 'Not', x);

// exp(x) - 1 loses all digits near zero; 2 sinh(x/2) exp(x/2) does not.
function expm1(graph: OnnxGraph, x: GraphValue): GraphValue {
  const half = mul(graph, x, number(graph, x, 0.5));
  const near = mul(graph, mul(graph, unary(graph, 'Sinh', half), number(graph, x, 2)), unary(graph, 'Exp', half));
  const far = sub(graph, unary(graph, 'Exp', x), number(graph, x, 1));
  return where(graph, binary(graph, 'Less', unary(graph, 'Abs', x), number(graph, x, 1), 'bool'), near, far);
}

// ONNX Runtime's f32 logarithm rounds differently in the last values of each thread's share, so that results would depend on
// the number of threads; from f64, all round to the same f32.
function log(graph: OnnxGraph, x: GraphValue): GraphValue {
  return cast(graph, unary(graph, 'Log', cast(graph, x, 'f64')), x.dtype);
}

// log(1 + x) in f64, with the rounding of 1 + x divided out (Kahan).
function log1p(graph: OnnxGraph, x: GraphValue): GraphValue {
  const wide = cast(graph, x, 'f64');
  const one = graph.scalar('f64', 1);
  const u = add(graph, wide, one);
  const logarithm = unary(graph, 'Log', u);
  const exact = mul(graph, logarithm, div(graph, wide, sub(graph, u, one)));
  const corrected = where(graph, isInfinite(graph, u), logarithm, exact);
  return cast(graph, where(graph, binary(graph, 'Equal', u, one, 'bool'), wide, corrected), x.dtype);
}

// max(x, 0) + log(1 + exp(-|x|)): never overflows.
function softplus(graph: OnnxGraph, x: GraphValue): GraphValue {
  const wide = cast(graph, unary(graph, 'Abs', x), 'f64');
  const decay = unary(graph, 'Exp', unary(graph, 'Neg', wide));
  const bend = unary(graph, 'Log', add(graph, decay, graph.scalar('f64', 1)));
  return add(graph, unary(graph, 'Relu', x), cast(graph, bend, x.dtype));
}

// In f64, as tfjs's CPU backend computes; int32 whatever the operands are, as there. A zero divisor gives 0, where a machine
// division of integers would trap.
function floorDiv(graph: OnnxGraph, a: GraphValue, b: GraphValue): GraphValue {
  const quotient = binary(graph, 'Div', cast(graph, a, 'f64'), cast(graph, b, 'f64'));
  const floor = cast(graph, unary(graph, 'Floor', quotient), 'i32');
  return where(graph, isZero(graph, b), graph.scalar('i32', 0), floor);
}

// The remainder with the sign of the divisor: r = fmod(a, b), or fmod(r + b, b) where the signs of a and b differ.
function mod(graph: OnnxGraph, a: GraphValue, b: GraphValue): GraphValue {
  const x = cast(graph, a, 'f64');
  const y = cast(graph, b, 'f64');
  const r = fmod(graph, x, y);
  const zero = graph.scalar('f64', 0);
  const negative = [x, y].map((value) => binary(graph, 'Less', value, zero, 'bool'));
  const differ = binary(graph, 'Xor', negative[0]!, negative[1]!);
  const result = cast(graph, where(graph, differ, fmod(graph, add(graph, r, y), y), r), a.dtype);
  return a.dtype === 'f32' ? result : where(graph, isZero(graph, b), graph.scalar(a.dtype, 0), result);
}

// a - trunc(a / b) b is not exact; the operator Mod with fmod = 1 is.
function fmod(graph: OnnxGraph, a: GraphValue, b: GraphValue): GraphValue {
  return binary(graph, 'Mod', a, b, a.dtype, { fmod: { int: 1 } });
}

const isZero = (graph: OnnxGraph, x: GraphValue): GraphValue =>
  binary(graph, 'Equal', x, graph.scalar(x.dtype, 0), 'bool');

function pow(graph: OnnxGraph, a: GraphValue, b: GraphValue): GraphValue {
  requireDType('Pow', a, 'f32', 'i32');
  const exponent = splatValue(b);
  if (exponent === 1 && b.shape.length === 0) return a;
  if (exponent === 2 && b.shape.length === 0) return mul(graph, a, a);
  if (a.dtype === 'f32') return binary(graph, 'Pow', a, b);
  return cast(graph, binary(graph, 'Pow', cast(graph, a, 'f64'), cast(graph, b, 'f64')), a.dtype);
}

// atan(y / x) is right for x > 0; elsewhere half a turn, or a quarter on the axis, is added.
function atan2(graph: OnnxGraph, y: GraphValue, x: GraphValue): GraphValue {
  const c = (value: number): GraphValue => number(graph, x, value);
  const less = (p: GraphValue, q: GraphValue): GraphValue => binary(graph, 'Less', p, q, 'bool');
  const angle = unary(graph, 'Atan', div(graph, y, x));
  const turn = where(graph, less(y, c(0)), c(-Math.PI), c(Math.PI));
  const quarter = where(graph, less(y, c(0)), c(-Math.PI / 2), where(graph, less(c(0), y), c(Math.PI / 2), c(0)));
  const left = where(graph, less(x, c(0)), add(graph, angle, turn), quarter);
  return where(graph, less(c(0), x), angle, left);
}

/** Clips to [low, high]; NaN stays. */
export function clip(graph: OnnxGraph, x: GraphValue, low: number, high: number): GraphValue {
  return binary(graph, 'Min', binary(graph, 'Max', x, number(graph, x, low)), number(graph, x, high));
}

const elu = (graph: OnnxGraph, x: GraphValue, alpha: number): GraphValue => {
  const positive = binary(graph, 'GreaterOrEqual', x, number(graph, x, 0), 'bool');
  return where(graph, positive, x, mul(graph, expm1(graph, x), number(graph, x, alpha)));
};

// Of Klambauer et al. 2017, as tfjs writes them.
const SELU_ALPHA = 1.7580993408473768;
const SELU_SCALE = 1.0507009873554805;

function selu(graph: OnnxGraph, x: GraphValue): GraphValue {
  const positive = binary(graph, 'GreaterOrEqual', x, number(graph, x, 0), 'bool');
  const right = mul(graph, x, number(graph, x, SELU_SCALE));
  return where(graph, positive, right, mul(graph, expm1(graph, x), number(graph, x, SELU_ALPHA)));
}

/** x where it is not negative, slope * x elsewhere. */
export function leaky(graph: OnnxGraph, x: GraphValue, slope: GraphValue): GraphValue {
  return where(graph, binary(graph, 'Less', x, number(graph, x, 0), 'bool'), mul(graph, x, slope), x);
}

/** Activations of tfjs's fused kernels, as kernels of their own. */
export const ACTIVATIONS: Readonly<Record<string, (graph: OnnxGraph, x: GraphValue) => GraphValue>> = {
  linear: (_, x) => x,
  relu: (graph, x) => unary(graph, 'Relu', x),
  relu6: (graph, x) => clip(graph, x, 0, 6),
  elu: (graph, x) => elu(graph, x, 1),
  sigmoid: (graph, x) => unary(graph, 'Sigmoid', x),
};

/** Kernels that compute element by element. */
export const ELEMENTWISE: KernelTable = {
  Abs: viaOperator('Abs'),
  Acos: viaOperator('Acos'),
  Acosh: viaOperator('Acosh'),
  Add: arithmetic('Add', add),
  AddN: (graph, inputs) => Object.values(inputs).reduce((sum, x) => add(graph, sum, x)),
  Asin: viaOperator('Asin'),
  Asinh: viaOperator('Asinh'),
  Atan: viaOperator('Atan'),
  Atan2: (graph, { a, b }) => atan2(graph, a!, b!),
  Atanh: viaOperator('Atanh'),
  BitwiseAnd: (graph, { a, b }) => binary(graph, 'BitwiseAnd', a!, b!),
  Cast: (graph, { x }, { dtype }: CastAttrs) => cast(graph, x!, graphDType(dtype)),
  Ceil: viaOperator('Ceil'),
  ClipByValue: (graph, { x }, { clipValueMin, clipValueMax }: ClipByValueAttrs) =>
    clip(graph, x!, clipValueMin, clipValueMax),
  Cos: viaOperator('Cos'),
  Cosh: viaOperator('Cosh'),
  Elu: (graph, { x }) => elu(graph, x!, 1),
  EluGrad: (graph, { dy, y }) => {
    const positive = binary(graph, 'GreaterOrEqual', y!, number(graph, y!, 0), 'bool');
    return where(graph, positive, dy!, mul(graph, dy!, add(graph, y!, number(graph, y!, 1))));
  },
  Equal: comparison('Equal'),
  Erf: viaOperator('Erf'),
  Exp: viaOperator('Exp'),
  Expm1: (graph, { x }) => expm1(graph, x!),
  Floor: viaOperator('Floor'),
  FloorDiv: (graph, { a, b }) => floorDiv(graph, a!, b!),
  Greater: comparison('Greater'),
  GreaterEqual: comparison('GreaterOrEqual'),
  IsFinite: floatTest((graph, x) => not(graph, binary(graph, 'Or', isInfinite(graph, x), isNaN(graph, x))), 1),
  IsInf: floatTest(isInfinite, 0),
  IsNan: floatTest(isNaN, 0),
  LeakyRelu: (graph, { x }, { alpha }: LeakyReluAttrs) => leaky(graph, x!, number(graph, x!, alpha)),
  Less: comparison('Less'),
  LessEqual: comparison('LessOrEqual'),
  Log: (graph, { x }) => log(graph, x!),
  Log1p: (graph, { x }) => log1p(graph, x!),
  LogicalAnd: logical('And'),
  LogicalNot: (graph, { x }) => not(graph, cast(graph, x!, 'bool')),
  LogicalOr: logical('Or'),
  LogicalXor: logical('Xor'),
  Maximum: arithmetic('Maximum', (graph, a, b) => binary(graph, 'Max', a, b)),
  Minimum: arithmetic('Minimum', (graph, a, b) => binary(graph, 'Min', a, b)),
  Mod: (graph, { a, b }) => mod(graph, a!, b!),
  Multiply: arithmetic('Multiply', mul),
  Neg: viaOperator('Neg'),
  NotEqual: (graph, { a, b }) => not(graph, binary(graph, 'Equal', ordered(graph, a!), ordered(graph, b!), 'bool')),
  Pow: (graph, { a, b }) => pow(graph, a!, b!),
  Prelu: (graph, { x, alpha }) => leaky(graph, x!, alpha!),
  RealDiv: (graph, { a, b }) => {
    requireDType('RealDiv', a!, 'f32');
    return div(graph, a!, b!);
  },
  Reciprocal: viaOperator('Reciprocal'),
  Relu: viaOperator('Relu'),
  Relu6: (graph, { x }) => clip(graph, x!, 0, 6),
  // Halves go to the even neighbour, in ONNX and in tfjs.
  Round: (graph, { x }) => (x!.dtype === 'f32' ? unary(graph, 'Round', x!) : x!),
  Rsqrt: (graph, { x }) => unary(graph, 'Reciprocal', unary(graph, 'Sqrt', x!)),
  // tfjs lets a condition of rank 1 choose whole rows.
  Select: (graph, { condition, t, e }) => {
    const rows = condition!.shape.length === 1 && t!.shape.length > 1;
    const shape = rows ? [condition!.shape[0]!, ...t!.shape.slice(1).map(() => 1)] : condition!.shape;
    return where(graph, reshape(graph, condition!, shape), t!, e!);
  },
  Selu: (graph, { x }) => selu(graph, x!),
  Sigmoid: viaOperator('Sigmoid'),
  // tfjs gives NaN no sign.
  Sign: (graph, { x }) => {
    const sign = unary(graph, 'Sign', x!);
    return x!.dtype === 'f32' ? where(graph, isNaN(graph, x!), number(graph, x!, 0), sign) : sign;
  },
  Sin: viaOperator('Sin'),
  Sinh: viaOperator('Sinh'),
  Softplus: (graph, { x }) => softplus(graph, x!),
  Sqrt: viaOperator('Sqrt'),
  Square: (graph, { x }) => mul(graph, x!, x!),
  SquaredDifference: (graph, { a, b }) => {
    const difference = sub(graph, a!, b!);
    return mul(graph, difference, difference);
  },
  Step: (graph, { x }, { alpha }: StepAttrs) => {
    const zero = number(graph, x!, 0);
    const step = where(
      graph,
      binary(graph, 'Greater', x!, zero, 'bool'),
      number(graph, x!, 1),
      number(graph, x!, alpha),
    );
    return x!.dtype === 'f32' ? where(graph, isNaN(graph, x!), x!, step) : step;
  },
  Sub: arithmetic('Sub', sub),
  Tan: viaOperator('Tan'),
  Tanh: viaOperator('Tanh'),
};
