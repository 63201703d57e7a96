// Gradients of kernels that compute element by element. At a kink the value is that of tfjs, except abs, where it is 0.
import * as tf from '@tensorflow/tfjs-core';
import { keepWhere, sumTo, zeros } from './gradient.ts';
import type { Gradient, GradientTable } from './gradient.ts';

// dx = formula(dy, x)
const ofInput = (formula: (dy: tf.Tensor, x: tf.Tensor) => tf.Tensor): Gradient => ({
  inputs: ['x'],
  formula: (dy: tf.Tensor, [x]) => ({ x: () => formula(dy, x!) }),
});

// dx = formula(dy, y)
const ofOutput = (formula: (dy: tf.Tensor, y: tf.Tensor) => tf.Tensor): Gradient => ({
  outputs: true,
  formula: (dy: tf.Tensor, [y]) => ({ x: () => formula(dy, y!) }),
});

// da, db = formulas(dy, a, b), before the sum over broadcast axes
const ofPair = (
  da: (dy: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
  db: (dy: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
): Gradient => ({
  inputs: ['a', 'b'],
  formula: (dy: tf.Tensor, [a, b]) => ({
    a: () => sumTo(da(dy, a!, b!), a!.shape),
    b: () => sumTo(db(dy, a!, b!), b!.shape),
  }),
});

const flat: Gradient = { inputs: ['x'], formula: (_, [x]) => ({ x: () => zeros(x!.shape) }) };
const flatPair: Gradient = {
  inputs: ['a', 'b'],
  formula: (_, [a, b]) => ({ a: () => zeros(a!.shape), b: () => zeros(b!.shape) }),
};

const times = (x: tf.Tensor, factor: number): tf.Tensor => tf.mul(x, tf.scalar(factor));
const plus = (x: tf.Tensor, term: number): tf.Tensor => tf.add(x, tf.scalar(term));
const zero = (): tf.Tensor => tf.scalar(0);
const one = (): tf.Tensor => tf.scalar(1);

/** Gradients of elementwise kernels. */
export const ELEMENTWISE_GRADIENTS: GradientTable = {
  Abs: ofInput((dy, x) => tf.mul(dy, tf.sign(x))),
  Acos: ofInput((dy, x) => tf.neg(tf.div(dy, tf.sqrt(tf.sub(one(), tf.square(x)))))),
  Acosh: ofInput((dy, x) => tf.div(dy, tf.sqrt(plus(tf.square(x), -1)))),
  Add: ofPair(
    (dy) => dy,
    (dy) => dy,
  ),
  AddN: {
    inputs: 'all',
    formula: (dy: tf.Tensor, inputs) => Object.fromEntries(inputs.map((_, i) => [i, () => tf.clone(dy)])),
  },
  Asin: ofInput((dy, x) => tf.div(dy, tf.sqrt(tf.sub(one(), tf.square(x))))),
  Asinh: ofInput((dy, x) => tf.div(dy, tf.sqrt(plus(tf.square(x), 1)))),
  Atan: ofInput((dy, x) => tf.div(dy, plus(tf.square(x), 1))),
  Atan2: ofPair(
    (dy, a, b) => tf.mul(dy, tf.div(b, tf.add(tf.square(a), tf.square(b)))),
    (dy, a, b) => tf.neg(tf.mul(dy, tf.div(a, tf.add(tf.square(a), tf.square(b))))),
  ),
  Atanh: ofInput((dy, x) => tf.div(dy, tf.sub(one(), tf.square(x)))),
  Cast: { formula: (dy: tf.Tensor) => ({ x: () => tf.clone(dy) }) },
  Ceil: flat,
  ClipByValue: {
    inputs: ['x'],
    formula: (dy: tf.Tensor, [x], { clipValueMin, clipValueMax }: tf.ClipByValueAttrs) => ({
      x: () =>
        keepWhere(
          tf.logicalAnd(tf.greaterEqual(x!, tf.scalar(clipValueMin)), tf.lessEqual(x!, tf.scalar(clipValueMax))),
          dy,
        ),
    }),
  },
  Cos: ofInput((dy, x) => tf.neg(tf.mul(dy, tf.sin(x)))),
  Cosh: ofInput((dy, x) => tf.mul(dy, tf.sinh(x))),
  Elu: ofOutput((dy, y) => tf.where(tf.greaterEqual(y, zero()), dy, tf.mul(dy, plus(y, 1)))),
  Equal: flatPair,
  Erf: ofInput((dy, x) => tf.mul(dy, times(tf.exp(tf.neg(tf.square(x))), 2 / Math.sqrt(Math.PI)))),
  Exp: ofOutput((dy, y) => tf.mul(dy, y)),
  Expm1: ofInput((dy, x) => tf.mul(dy, tf.exp(x))),
  Floor: flat,
  FloorDiv: flatPair,
  Greater: flatPair,
  GreaterEqual: flatPair,
  IsFinite: flat,
  IsInf: flat,
  IsNan: flat,
  LeakyRelu: {
    inputs: ['x'],
    formula: (dy: tf.Tensor, [x], { alpha }: tf.LeakyReluAttrs) => ({
      x: () => tf.where(tf.greater(x!, zero()), dy, times(dy, alpha)),
    }),
  },
  Less: flatPair,
  LessEqual: flatPair,
  Log: ofInput((dy, x) => tf.div(dy, x)),
  Log1p: ofInput((dy, x) => tf.div(dy, plus(x, 1))),
  LogicalAnd: flatPair,
  LogicalNot: flat,
  LogicalOr: flatPair,
  Maximum: ofPair(
    (dy, a, b) => keepWhere(tf.greaterEqual(a, b), dy),
    (dy, a, b) => keepWhere(tf.less(a, b), dy),
  ),
  Minimum: ofPair(
    (dy, a, b) => keepWhere(tf.lessEqual(a, b), dy),
    (dy, a, b) => keepWhere(tf.greater(a, b), dy),
  ),
  Mod: ofPair(
    (dy) => dy,
    (dy, a, b) => tf.neg(tf.mul(dy, tf.floor(tf.div(a, b)))),
  ),
  Multiply: ofPair(
    (dy, _, b) => tf.mul(dy, b),
    (dy, a) => tf.mul(dy, a),
  ),
  Neg: { formula: (dy: tf.Tensor) => ({ x: () => tf.neg(dy) }) },
  NotEqual: flatPair,
  Pow: {
    inputs: ['a', 'b'],
    outputs: true,
    // A base that is not positive has no logarithm: it says nothing about the exponent.
    formula: (dy: tf.Tensor, [a, b, y]) => ({
      a: () => sumTo(tf.mul(dy, tf.mul(b!, tf.pow(a!, tf.sub(b!, one())))), a!.shape),
      b: () => {
        const positive = tf.greater(a!, zero());
        const log = tf.where(positive, tf.log(tf.where(positive, a!, tf.onesLike(a!))), tf.zerosLike(a!));
        return sumTo(tf.mul(dy, tf.mul(y!, log)), b!.shape);
      },
    }),
  },
  Prelu: {
    inputs: ['x', 'alpha'],
    formula: (dy: tf.Tensor, [x, alpha]) => ({
      x: () => sumTo(tf.where(tf.greater(x!, zero()), dy, tf.mul(dy, alpha!)), x!.shape),
      alpha: () => sumTo(tf.where(tf.greater(x!, zero()), tf.zerosLike(dy), tf.mul(dy, x!)), alpha!.shape),
    }),
  },
  RealDiv: ofPair(
    (dy, _, b) => tf.div(dy, b),
    (dy, a, b) => tf.neg(tf.div(tf.mul(dy, a), tf.square(b))),
  ),
  Reciprocal: ofOutput((dy, y) => tf.neg(tf.mul(dy, tf.square(y)))),
  Relu: ofOutput((dy, y) => keepWhere(tf.greater(y, zero()), dy)),
  Relu6: ofInput((dy, x) => keepWhere(tf.logicalAnd(tf.greater(x, zero()), tf.lessEqual(x, tf.scalar(6))), dy)),
  Round: flat,
  Rsqrt: ofOutput((dy, y) => times(tf.mul(dy, tf.mul(y, tf.square(y))), -0.5)),
  Select: {
    inputs: ['condition'],
    formula: (dy: tf.Tensor, [condition]) => ({
      condition: () => zeros(condition!.shape),
      t: () => keepWhere(condition!, dy),
      e: () => keepWhere(tf.logicalNot(condition!), dy),
    }),
  },
  Selu: ofInput((dy, x) =>
    tf.where(
      tf.greater(x, zero()),
      times(dy, 1.0507009873554805),
      tf.mul(times(dy, 1.7580993408473768), tf.exp(tf.minimum(x, zero()))),
    ),
  ),
  Sigmoid: ofOutput((dy, y) => tf.mul(dy, tf.mul(y, tf.sub(one(), y)))),
  Sign: flat,
  Sin: ofInput((dy, x) => tf.mul(dy, tf.cos(x))),
  Sinh: ofInput((dy, x) => tf.mul(dy, tf.cosh(x))),
  Softplus: ofInput((dy, x) => tf.mul(dy, tf.sigmoid(x))),
  Sqrt: ofOutput((dy, y) => tf.div(dy, times(y, 2))),
  Square: ofInput((dy, x) => tf.mul(dy, times(x, 2))),
  SquaredDifference: ofPair(
    (dy, a, b) => tf.mul(dy, times(tf.sub(a, b), 2)),
    (dy, a, b) => tf.mul(dy, times(tf.sub(b, a), 2)),
  ),
  Step: flat,
  Sub: ofPair(
    (dy) => dy,
    (dy) => tf.neg(dy),
  ),
  Tan: ofOutput((dy, y) => tf.mul(dy, plus(tf.square(y), 1))),
  Tanh: ofOutput((dy, y) => tf.mul(dy, tf.sub(one(), tf.square(y)))),
};
