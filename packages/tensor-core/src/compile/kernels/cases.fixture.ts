// One or more cases for each recorded kernel: what to compute, on which values, and what to compare it with.
import * as tf from '@tensorflow/tfjs-core';
import type { TensorDType } from '../trace.ts';

/** One operand: its shape and how its values are made. */
export interface Operand {
  readonly shape: readonly number[];
  readonly dtype: TensorDType;
  /** Value of element i of n. */
  readonly value: (i: number, n: number) => number;
}

/** One case. */
export interface KernelCase {
  /** The tfjs kernel under test; `title` tells cases of one kernel apart. */
  readonly kernel: string;
  readonly title: string;
  readonly operands: readonly Operand[];
  readonly fn: (...x: tf.Tensor[]) => tf.Tensor | tf.Tensor[];
  /**
   * What the gradient is compared with: tfjs's own gradient functions, differences of the compiled function (where tfjs has
   * none, or a wrong one), or nothing (the function is flat or not defined on these values).
   */
  readonly gradient: 'tfjs' | 'differences' | 'none';
  /** Computes the reference, where tfjs's CPU backend is wrong. */
  readonly reference?: (...x: tf.Tensor[]) => tf.Tensor | tf.Tensor[];
  /** Relative to 1 + |value|. */
  readonly tolerance?: number;
}

/** Shapes with axes that no vector unit divides, and a scalar. */
export const ODD_SHAPES: readonly (readonly number[])[] = [
  [],
  [1],
  [7],
  [31],
  [33],
  [1, 1],
  [3, 7],
  [2, 1, 33],
  [2, 3, 5, 7],
];

// A fixed scatter of values: multiples of the golden ratio, folded into [0, 1).
const scatter = (i: number): number => ((i + 1) * 0.6180339887498949) % 1;

/** Values between low and high. */
export const between =
  (low: number, high: number, seed = 0): Operand['value'] =>
  (i) =>
    low + (high - low) * scatter(i * 7 + seed);

/** Whole values between low and high, both included. */
export const whole =
  (low: number, high: number, seed = 0): Operand['value'] =>
  (i) =>
    low + Math.floor((high - low + 1) * scatter(i * 5 + seed));

export const f32 = (shape: readonly number[], value = between(-2, 2)): Operand => ({ shape, dtype: 'float32', value });
export const i32 = (shape: readonly number[], value = whole(-9, 9)): Operand => ({ shape, dtype: 'int32', value });
export const bool = (shape: readonly number[], seed = 0): Operand => ({
  shape,
  dtype: 'bool',
  value: whole(0, 1, seed),
});

/** Numbers that functions trip over. */
const SPECIAL = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  -1.5,
  1e-8,
  -1e-8,
  1e-30,
  88,
  -88,
  200,
  -200,
  Infinity,
  -Infinity,
  NaN,
];
export const special: Operand = { shape: [SPECIAL.length], dtype: 'float32', value: (i) => SPECIAL[i]! };

const one = (
  kernel: string,
  title: string,
  operands: readonly Operand[],
  fn: KernelCase['fn'],
  rest: Partial<KernelCase> = {},
): KernelCase => ({ kernel, title, operands, fn, gradient: 'tfjs', ...rest });

type Unary = (x: tf.Tensor) => tf.Tensor;
type Binary = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;

interface UnaryRow {
  readonly fn: Unary;
  readonly value?: Operand['value'];
  readonly flat?: true;
  readonly noSpecial?: true;
  readonly ints?: true;
}

const UNARY: Readonly<Record<string, UnaryRow>> = {
  Abs: { fn: (x) => tf.abs(x), ints: true },
  Acos: { fn: (x) => tf.acos(x), value: between(-0.9, 0.9) },
  Acosh: { fn: (x) => tf.acosh(x), value: between(1.1, 4) },
  Asin: { fn: (x) => tf.asin(x), value: between(-0.9, 0.9) },
  Asinh: { fn: (x) => tf.asinh(x), noSpecial: true },
  Atan: { fn: (x) => tf.atan(x) },
  Atanh: { fn: (x) => tf.atanh(x), value: between(-0.9, 0.9) },
  Ceil: { fn: (x) => tf.ceil(x), flat: true },
  ClipByValue: { fn: (x) => tf.clipByValue(x, -0.7, 1.1), ints: true },
  Cos: { fn: (x) => tf.cos(x) },
  Cosh: { fn: (x) => tf.cosh(x) },
  Elu: { fn: (x) => tf.elu(x) },
  Erf: { fn: (x) => tf.erf(x) },
  Exp: { fn: (x) => tf.exp(x) },
  Expm1: { fn: (x) => tf.expm1(x) },
  Floor: { fn: (x) => tf.floor(x), flat: true },
  Identity: { fn: (x) => tf.clone(x), ints: true },
  IsFinite: { fn: (x) => tf.isFinite(x), flat: true },
  IsInf: { fn: (x) => tf.isInf(x), flat: true },
  IsNan: { fn: (x) => tf.isNaN(x), flat: true },
  LeakyRelu: { fn: (x) => tf.leakyRelu(x, 0.3) },
  Log: { fn: (x) => tf.log(x), value: between(0.1, 4) },
  Log1p: { fn: (x) => tf.log1p(x), value: between(-0.9, 3) },
  LogicalNot: { fn: (x) => tf.logicalNot(tf.cast(x, 'bool')), flat: true },
  Neg: { fn: (x) => tf.neg(x), ints: true },
  OnesLike: { fn: (x) => tf.onesLike(x), flat: true, ints: true },
  Reciprocal: { fn: (x) => tf.reciprocal(x), value: between(0.2, 3) },
  Relu: { fn: (x) => tf.relu(x), ints: true },
  Relu6: { fn: (x) => tf.relu6(x), value: between(-3, 9) },
  Round: { fn: (x) => tf.round(x), flat: true },
  Rsqrt: { fn: (x) => tf.rsqrt(x), value: between(0.2, 5) },
  Selu: { fn: (x) => tf.selu(x) },
  Sigmoid: { fn: (x) => tf.sigmoid(x) },
  Sign: { fn: (x) => tf.sign(x), flat: true },
  Sin: { fn: (x) => tf.sin(x) },
  Sinh: { fn: (x) => tf.sinh(x) },
  Softplus: { fn: (x) => tf.softplus(x) },
  Sqrt: { fn: (x) => tf.sqrt(x), value: between(0.2, 5) },
  Square: { fn: (x) => tf.square(x), ints: true },
  Step: { fn: (x) => tf.step(x, 0.25), flat: true },
  Tan: { fn: (x) => tf.tan(x), value: between(-1.2, 1.2) },
  Tanh: { fn: (x) => tf.tanh(x) },
  ZerosLike: { fn: (x) => tf.zerosLike(x), flat: true, ints: true },
};

// All shapes in one program: a compilation costs more than these computations.
const unaryCases = Object.entries(UNARY).flatMap(([kernel, row]) => [
  one(
    kernel,
    'odd shapes',
    ODD_SHAPES.map((shape) => f32(shape, row.value)),
    (...x) => x.map((each) => row.fn(each)),
    { gradient: row.flat ? 'none' : 'tfjs' },
  ),
  ...(row.noSpecial ? [] : [one(kernel, 'special values', [special], (x) => row.fn(x!), { gradient: 'none' })]),
  ...(row.ints ? [one(kernel, 'int32', [i32([3, 7])], (x) => row.fn(x!), { gradient: 'none' })] : []),
]);

/** Pairs of shapes that broadcast. */
const PAIRS: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[], []],
  [[7], []],
  [[], [33]],
  [
    [3, 7],
    [3, 7],
  ],
  [[3, 7], [7]],
  [
    [3, 1],
    [1, 31],
  ],
  [
    [2, 1, 5],
    [3, 1],
  ],
  [[1], [2, 3, 33]],
];

interface BinaryRow {
  readonly fn: Binary;
  readonly a?: Operand['value'];
  readonly b?: Operand['value'];
  readonly flat?: true;
  readonly ints?: true;
  /** False where tfjs's gradient function forgets to sum over broadcast axes. */
  readonly broadcasts?: false;
}

// Never near a whole number: differences must not straddle a kink.
const apart: Operand['value'] = (i) => whole(-2, 2)(i, 0) + 0.5;

const BINARY: Readonly<Record<string, BinaryRow>> = {
  Add: { fn: (a, b) => tf.add(a, b), ints: true },
  Atan2: { fn: (a, b) => tf.atan2(a, b) },
  Equal: { fn: (a, b) => tf.equal(a, b), a: whole(-2, 2), b: whole(-2, 2, 3), flat: true, ints: true },
  FloorDiv: { fn: (a, b) => tf.floorDiv(a, b), flat: true, ints: true },
  Greater: { fn: (a, b) => tf.greater(a, b), a: whole(-2, 2), b: whole(-2, 2, 3), flat: true, ints: true },
  GreaterEqual: { fn: (a, b) => tf.greaterEqual(a, b), a: whole(-2, 2), b: whole(-2, 2, 3), flat: true, ints: true },
  Less: { fn: (a, b) => tf.less(a, b), a: whole(-2, 2), b: whole(-2, 2, 3), flat: true, ints: true },
  LessEqual: { fn: (a, b) => tf.lessEqual(a, b), a: whole(-2, 2), b: whole(-2, 2, 3), flat: true, ints: true },
  Maximum: { fn: (a, b) => tf.maximum(a, b), a: apart, b: whole(-2, 2, 3), ints: true, broadcasts: false },
  Minimum: { fn: (a, b) => tf.minimum(a, b), a: apart, b: whole(-2, 2, 3), ints: true, broadcasts: false },
  Mod: { fn: (a, b) => tf.mod(a, b), a: between(-7, 7), b: between(-2, 2, 3), ints: true },
  Multiply: { fn: (a, b) => tf.mul(a, b), ints: true },
  NotEqual: { fn: (a, b) => tf.notEqual(a, b), a: whole(-2, 2), b: whole(-2, 2, 3), flat: true, ints: true },
  Pow: { fn: (a, b) => tf.pow(a, b), a: between(0.3, 3), ints: true },
  Prelu: { fn: (a, b) => tf.prelu(a, b), broadcasts: false },
  RealDiv: { fn: (a, b) => tf.div(a, b), b: between(0.5, 3) },
  SquaredDifference: { fn: (a, b) => tf.squaredDifference(a, b), ints: true, broadcasts: false },
  Sub: { fn: (a, b) => tf.sub(a, b), ints: true },
};

const pairwise =
  (fn: Binary): KernelCase['fn'] =>
  (...x) =>
    Array.from({ length: x.length / 2 }, (_, i) => fn(x[2 * i]!, x[2 * i + 1]!));

const binaryCases = Object.entries(BINARY).flatMap(([kernel, row]) => {
  const [low, high] = kernel === 'Pow' ? [0, 4] : [-9, 9];
  const floats = PAIRS.flatMap(([a, b]) => [f32(a, row.a), f32(b, row.b ?? between(-2, 2, 3))]);
  const integers = PAIRS.flatMap(([a, b]) => [i32(a, whole(low, high)), i32(b, whole(low, high, 3))]);
  const gradient = row.flat ? 'none' : row.broadcasts === false ? 'differences' : 'tfjs';
  return [
    one(kernel, 'shapes that broadcast', floats, pairwise(row.fn), { gradient }),
    ...(row.ints ? [one(kernel, 'int32', integers, pairwise(row.fn), { gradient: 'none' })] : []),
  ];
});

const logicalCases = (
  [
    ['LogicalAnd', tf.logicalAnd],
    ['LogicalOr', tf.logicalOr],
  ] as const
).map(([kernel, fn]) =>
  one(
    kernel,
    'shapes that broadcast',
    PAIRS.flatMap(([a, b]) => [bool(a), bool(b, 3)]),
    pairwise(fn),
    { gradient: 'none' },
  ),
);

const otherElementwise: KernelCase[] = [
  one('AddN', 'three', [f32([3, 7]), f32([3, 7], between(0, 1)), f32([3, 7], between(5, 6))], (...x) => tf.addN(x)),
  one(
    'BitwiseAnd',
    'bits',
    [i32([33], whole(-(2 ** 31), 2 ** 31 - 1)), i32([33], whole(-(2 ** 31), 2 ** 31 - 1, 3))],
    (a, b) => tf.bitwiseAnd(a!, b!),
    { gradient: 'none' },
  ),
  ...(['float32', 'int32', 'bool'] as const).flatMap((from) =>
    (['float32', 'int32', 'bool'] as const).map((to) =>
      one(
        'Cast',
        `${from} to ${to}`,
        [
          {
            shape: [33],
            dtype: from,
            value: from === 'bool' ? whole(0, 1) : from === 'int32' ? whole(-2, 2) : between(-3, 3),
          },
        ],
        (x) => tf.cast(x!, to),
        { gradient: from === 'float32' && to === 'float32' ? 'tfjs' : 'none' },
      ),
    ),
  ),
  one(
    'EluGrad',
    'by its own name',
    [f32([7]), f32([7], between(-0.9, 2, 3))],
    (dy, y) => tf.engine().runKernel('EluGrad', { dy: dy!, y: y! }) as tf.Tensor,
    { gradient: 'none' },
  ),
  one('FloorDiv', 'int32 by zero', [i32([7]), i32([7], () => 0)], (a, b) => tf.floorDiv(a!, b!), { gradient: 'none' }),
  one(
    'FloorDiv',
    'large int32',
    [i32([7], whole(-(2 ** 31), 2 ** 31 - 1)), i32([7], whole(-5, -1))],
    (a, b) => tf.floorDiv(a!, b!),
    { gradient: 'none' },
  ),
  one(
    'LogicalXor',
    'by its own name',
    [bool([7]), bool([7], 3)],
    (a, b) => tf.engine().runKernel('LogicalXor', { a: a!, b: b! }) as tf.Tensor,
    { gradient: 'none', reference: (a, b) => tf.logicalXor(a!, b!) },
  ),
  one('Mod', 'int32 by zero', [i32([7]), i32([7], () => 0)], (a, b) => tf.mod(a!, b!), { gradient: 'none' }),
  one('Pow', 'square', [f32([7])], (x) => tf.pow(x!, tf.scalar(2))),
  one('Pow', 'of one', [f32([7])], (x) => tf.pow(x!, tf.scalar(1))),
  one('Pow', 'negative int32 exponent', [i32([7], whole(1, 3)), i32([7], whole(-3, -1))], (a, b) => tf.pow(a!, b!), {
    gradient: 'none',
  }),
  one('Round', 'halves', [{ shape: [9], dtype: 'float32', value: (i) => i / 2 - 2 }], (x) => tf.round(x!), {
    gradient: 'none',
  }),
  one('Select', 'same shape', [bool([3, 7]), f32([3, 7]), f32([3, 7], between(5, 6))], (c, a, b) =>
    tf.where(c!, a!, b!),
  ),
  one('Select', 'int32', [bool([3, 7]), i32([3, 7]), i32([3, 7], whole(20, 30))], (c, a, b) => tf.where(c!, a!, b!), {
    gradient: 'none',
  }),
  one('Select', 'broadcast', [bool([3, 1]), f32([7]), f32([])], (c, a, b) => tf.where(c!, a!, b!)),
  one(
    'Select',
    'rows',
    [bool([3]), f32([3, 7]), f32([3, 7], between(5, 6))],
    (c, a, b) => tf.engine().runKernel('Select', { condition: c!, t: a!, e: b! }) as tf.Tensor,
    // The CPU backend repeats the first values of each operand instead of taking rows.
    { gradient: 'none', reference: (c, a, b) => tf.where(tf.reshape(c!, [3, 1]), a!, b!) },
  ),
  one(
    'Maximum',
    'greater than a constant inside where',
    [f32([33])],
    (x) => tf.where(tf.greater(x!, tf.scalar(0.5)), tf.square(x!), x!),
    { gradient: 'differences' },
  ),
];

const reductionShapes: readonly (readonly [readonly number[], number | number[] | undefined, boolean])[] = [
  [[], undefined, false],
  [[1], 0, false],
  [[33], undefined, false],
  [[3, 7], 0, true],
  [[3, 7], -1, false],
  [[2, 3, 31], [0, 2], false],
  [[2, 3, 31], [1], true],
  [[2, 3, 5, 7], undefined, true],
];

type Reduction = (x: tf.Tensor, axis?: number | number[], keepDims?: boolean) => tf.Tensor;
const REDUCTIONS: readonly (readonly [string, Reduction, 'f32' | 'both' | 'bool'])[] = [
  ['All', tf.all, 'bool'],
  ['Any', tf.any, 'bool'],
  ['Max', tf.max, 'both'],
  ['Mean', tf.mean, 'both'],
  ['Min', tf.min, 'both'],
  ['Prod', tf.prod, 'both'],
  ['Sum', tf.sum, 'both'],
];

const reductionCases = REDUCTIONS.flatMap(([kernel, fn, kind]) =>
  reductionShapes.flatMap(([shape, axis, keep]) => {
    const title = `[${shape.join()}] over ${JSON.stringify(axis ?? 'all')}${keep ? ', kept' : ''}`;
    const apply: KernelCase['fn'] = (x) => fn(x!, axis, keep);
    if (kind === 'bool') return [one(kernel, title, [bool(shape)], apply, { gradient: 'none' })];
    const value = kernel === 'Prod' ? between(0.8, 1.3) : between(-2, 2);
    // tfjs orders the axes of a product's gradient wrongly when several are reduced.
    const gradient = kernel === 'Prod' ? 'differences' : 'tfjs';
    return [
      one(kernel, title, [f32(shape, value)], apply, { gradient }),
      one(
        kernel,
        `int32 ${title}`,
        [i32(shape, kernel === 'Prod' ? (i) => (i % 11 === 0 ? 2 : 1) : whole(-9, 9))],
        apply,
        {
          gradient: 'none',
          tolerance: 1e-6,
        },
      ),
    ];
  }),
);

const scanCases: KernelCase[] = [
  ...(['ArgMax', 'ArgMin'] as const).flatMap((kernel) => {
    const fn = kernel === 'ArgMax' ? tf.argMax : tf.argMin;
    return [
      one(kernel, 'vector', [f32([33])], (x) => fn(x!), { gradient: 'none' }),
      one(kernel, 'axis 0', [f32([7, 3])], (x) => fn(x!, 0), { gradient: 'none' }),
      one(kernel, 'last axis, ties', [f32([3, 31], whole(0, 3))], (x) => fn(x!, -1), { gradient: 'none' }),
      one(kernel, 'int32', [i32([3, 31])], (x) => fn(x!, 1), { gradient: 'none' }),
    ];
  }),
  ...[[31], [1], [3, 7], [2, 3, 5]].flatMap((shape) =>
    [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ].flatMap(([exclusive, reverse]) => {
      const title = `[${shape.join()}]${exclusive ? ' exclusive' : ''}${reverse ? ' reverse' : ''}`;
      return [
        one('Cumsum', title, [f32(shape)], (x) => tf.cumsum(x!, shape.length - 1, exclusive, reverse)),
        one(
          'Cumprod',
          title,
          [f32(shape, between(0.5, 1.5))],
          (x) => tf.cumprod(x!, shape.length - 1, exclusive, reverse),
          { gradient: 'none' },
        ),
      ];
    }),
  ),
  one('Cumsum', 'axis 0', [f32([7, 3])], (x) => tf.cumsum(x!, 0), { gradient: 'differences' }),
  one('Cumsum', 'int32', [i32([33])], (x) => tf.cumsum(x!), { gradient: 'none' }),
  ...[[1], [7], [3, 33], [2, 3, 31]].flatMap((shape) => [
    one('Softmax', `[${shape.join()}]`, [f32(shape)], (x) => tf.softmax(x!)),
    one('LogSoftmax', `[${shape.join()}]`, [f32(shape)], (x) => tf.logSoftmax(x!)),
  ]),
  one('Softmax', 'a row with a mask', [f32([7], (i) => (i % 2 ? -1e9 : i))], (x) => tf.softmax(x!)),
  ...[1, 3, 7].map((k) =>
    one('TopK', `${k} of [3,7]`, [f32([3, 7])], (x) => Object.values(tf.topk(x!, k)), { gradient: 'none' }),
  ),
  one('TopK', 'ties', [f32([2, 31], whole(0, 4))], (x) => Object.values(tf.topk(x!, 5)), { gradient: 'none' }),
  one('TopK', 'int32', [i32([31], whole(-99, 99))], (x) => Object.values(tf.topk(x!, 5)), { gradient: 'none' }),
];

const stored = (transposed: boolean, rows: number, columns: number): number[] =>
  transposed ? [columns, rows] : [rows, columns];

const productCases: KernelCase[] = [
  ...[
    [1, 1, 1],
    [7, 31, 33],
    [33, 1, 7],
    [1, 33, 1],
  ].flatMap(([m, k, n]) =>
    [0, 1, 2, 3].map((bits) => {
      const [ta, tb] = [(bits & 1) === 1, (bits & 2) === 2];
      return one(
        'BatchMatMul',
        `${m}x${k}x${n}${ta ? ' aᵀ' : ''}${tb ? ' bᵀ' : ''}`,
        [f32(stored(ta, m!, k!)), f32(stored(tb, k!, n!), between(-1, 1))],
        (a, b) => tf.matMul(a!, b!, ta, tb),
        { tolerance: 5e-6 },
      );
    }),
  ),
  ...[0, 1, 2, 3].map((bits) => {
    const [ta, tb] = [(bits & 1) === 1, (bits & 2) === 2];
    return one(
      'BatchMatMul',
      `batched${ta ? ' aᵀ' : ''}${tb ? ' bᵀ' : ''}`,
      [f32([2, 3, ...stored(ta, 5, 7)]), f32([2, 3, ...stored(tb, 7, 4)], between(-1, 1))],
      (a, b) => tf.matMul(a!, b!, ta, tb),
    );
  }),
  ...[
    [
      [2, 1],
      [1, 3],
    ],
    [[1], [4]],
    [[4], [1]],
    [[2, 3], []],
    [[], [2, 3]],
  ].flatMap(([ba, bb]) =>
    [0, 1, 2, 3].map((bits) => {
      const [ta, tb] = [(bits & 1) === 1, (bits & 2) === 2];
      return one(
        'BatchMatMul',
        `[${ba!.join()}] with [${bb!.join()}]${ta ? ' aᵀ' : ''}${tb ? ' bᵀ' : ''}`,
        [f32([...ba!, ...stored(ta, 5, 7)]), f32([...bb!, ...stored(tb, 7, 4)], between(-1, 1))],
        (a, b) => tf.matMul(a!, b!, ta, tb),
        { gradient: 'differences', reference: (a, b) => plainMatMul(a!, b!, ta, tb) },
      );
    }),
  ),
  one('BatchMatMul', 'int32', [i32([3, 7]), i32([7, 5], whole(-9, 9, 3))], (a, b) => tf.matMul(a!, b!), {
    gradient: 'none',
  }),
  one(
    'BatchMatMul',
    'int32 bᵀ',
    [i32([3, 7]), i32([5, 7], whole(-9, 9, 3))],
    (a, b) => tf.matMul(a!, b!, false, true),
    { gradient: 'none' },
  ),
  ...(['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'prelu', 'leakyrelu'] as const).map((activation) =>
    one(
      '_FusedMatMul',
      activation,
      [f32([3, 7]), f32([5, 7], between(-1, 1)), f32([5], between(-1, 1, 3)), f32([5], between(0, 1))],
      (a, b, bias, slope) =>
        tf
          .engine()
          .runKernel(
            '_FusedMatMul',
            { a: a!, b: b!, bias: bias!, ...(activation === 'prelu' ? { preluActivationWeights: slope! } : {}) },
            { transposeA: false, transposeB: true, activation, leakyreluAlpha: 0.1 },
          ) as tf.Tensor,
      // tfjs's CPU backend adds nothing for a slope by name: prelu is compared with its parts.
      { gradient: 'none' },
    ),
  ),
  ...(
    [
      ['ij,jk->ik', [3, 7], [7, 5]],
      ['ij,kj->ik', [3, 7], [5, 7]],
      ['bij,bjk->bik', [2, 3, 7], [2, 7, 5]],
      ['bqhd,bkhd->bhqk', [2, 3, 4, 5], [2, 6, 4, 5]],
      ['ij->ji', [3, 7]],
      ['ij->i', [3, 7]],
      ['i,j->ij', [3], [7]],
      ['ij,j->i', [3, 7], [7]],
    ] as const
  ).map(([equation, ...shapes]) =>
    one(
      'Einsum',
      equation,
      shapes.map((shape, i) => f32(shape, between(-1, 1, i * 3))),
      (...x) => tf.einsum(equation, ...x),
      { gradient: 'differences' },
    ),
  ),
];

/** Matrix products one value at a time, with broadcast batch axes: tfjs's CPU backend mixes these up. */
function plainMatMul(a: tf.Tensor, b: tf.Tensor, ta: boolean, tb: boolean): tf.Tensor {
  const [ab, bb] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const rank = Math.max(ab.length, bb.length);
  const padded = (shape: number[]): number[] => [...Array.from({ length: rank - shape.length }, () => 1), ...shape];
  const [pa, pb] = [padded(ab), padded(bb)];
  const batch = pa.map((n, i) => Math.max(n, pb[i]!));
  const [ar, ac] = a.shape.slice(-2) as [number, number];
  const [br, bc] = b.shape.slice(-2) as [number, number];
  const [m, k, n] = [ta ? ac : ar, ta ? ar : ac, tb ? br : bc];
  const [x, y] = [a.dataSync(), b.dataSync()];
  const count = batch.reduce((size, length) => size * length, 1);
  const out = new Float32Array(count * m * n);
  for (let t = 0; t < count; t++) {
    let [rest, ia, ib, sa, sb] = [t, 0, 0, 1, 1];
    for (let i = rank - 1; i >= 0; i--) {
      const at = rest % batch[i]!;
      rest = (rest - at) / batch[i]!;
      ia += pa[i] === 1 ? 0 : at * sa;
      ib += pb[i] === 1 ? 0 : at * sb;
      sa *= pa[i]!;
      sb *= pb[i]!;
    }
    for (let row = 0; row < m; row++) {
      for (let column = 0; column < n; column++) {
        let sum = 0;
        for (let j = 0; j < k; j++) {
          const left = x[ia * ar * ac + (ta ? j * ac + row : row * ac + j)]!;
          const right = y[ib * br * bc + (tb ? column * bc + j : j * bc + column)]!;
          sum += left * right;
        }
        out[(t * m + row) * n + column] = sum;
      }
    }
  }
  return tf.tensor(out, [...batch, m, n]);
}

const kernel = (name: string, inputs: Record<string, tf.Tensor>, attributes: object): tf.Tensor =>
  tf.engine().runKernel(name, inputs as never, attributes as never) as tf.Tensor;

const moveCases: KernelCase[] = [
  one('BroadcastTo', 'by its own name', [f32([3, 1])], (x) => kernel('BroadcastTo', { x: x! }, { shape: [2, 3, 7] }), {
    gradient: 'none',
    reference: (x) => tf.broadcastTo(x!, [2, 3, 7]),
  }),
  one('Tile', 'as broadcastTo', [f32([3, 1])], (x) => tf.broadcastTo(x!, [2, 3, 7])),
  ...[0, 1, -1].map((axis) =>
    one('Concat', `axis ${axis}`, [f32([3, 7]), f32([3, 7], between(4, 5)), f32([3, 7], between(7, 8))], (...x) =>
      tf.concat(x, axis),
    ),
  ),
  one(
    'Concat',
    'unequal parts, one of them empty',
    [f32([2, 3]), f32([0, 3]), f32([31, 3])],
    (...x) => tf.concat(x, 0),
    { gradient: 'none' },
  ),
  one('Concat', 'bool', [bool([7]), bool([3], 3)], (...x) => tf.concat(x), { gradient: 'none' }),
  one('Diag', 'vector', [f32([7])], (x) => tf.diag(x!), { gradient: 'none' }),
  one('Diag', 'matrix', [i32([2, 3])], (x) => tf.diag(x!), { gradient: 'none' }),
  ...[0, 1, -1].map((axis) => one('ExpandDims', `axis ${axis}`, [f32([3, 7])], (x) => tf.expandDims(x!, axis))),
  one('ExpandDims', 'scalar', [f32([])], (x) => tf.expandDims(x!)),
  one('Fill', 'added to', [f32([3, 7])], (x) => tf.add(x!, tf.fill([3, 7], 0.5))),
  one('Fill', 'large, as a result', [], () => [tf.fill([33, 33], 0.25), tf.fill([7], 3, 'int32')], {
    gradient: 'none',
  }),
  one('LinSpace', '31 steps', [], () => tf.linspace(-1, 2, 31), { gradient: 'none' }),
  one(
    'MirrorPad',
    'reflect',
    [f32([5, 7])],
    (x) =>
      tf.mirrorPad(
        x!,
        [
          [2, 1],
          [0, 3],
        ],
        'reflect',
      ),
    { gradient: 'none' },
  ),
  one(
    'MirrorPad',
    'symmetric',
    [f32([5, 7])],
    (x) =>
      tf.mirrorPad(
        x!,
        [
          [2, 5],
          [0, 3],
        ],
        'symmetric',
      ),
    { gradient: 'none' },
  ),
  ...[0, 1, 2].map((axis) =>
    one('Pack', `axis ${axis}`, [f32([3, 7]), f32([3, 7], between(4, 5))], (...x) => tf.stack(x, axis)),
  ),
  one('PadV2', 'matrix', [f32([3, 7])], (x) =>
    tf.pad(
      x!,
      [
        [1, 2],
        [0, 3],
      ],
      0.5,
    ),
  ),
  one(
    'PadV2',
    'int32',
    [i32([3, 7])],
    (x) =>
      tf.pad(
        x!,
        [
          [1, 2],
          [0, 3],
        ],
        4,
      ),
    { gradient: 'none' },
  ),
  one(
    'PadV2',
    'bool',
    [bool([3, 7])],
    (x) =>
      tf.pad(
        x!,
        [
          [1, 2],
          [0, 3],
        ],
        1,
      ),
    { gradient: 'none' },
  ),
  ...(
    [
      [0, 7, 1],
      [3, -5, -2],
      [0, 10, 3],
      [5, 5, 1],
    ] as const
  ).map(([start, stop, step]) =>
    one(
      'Range',
      `${start} to ${stop} by ${step}`,
      [],
      () => [tf.range(start, stop, step), tf.range(start, stop, step, 'int32')],
      { gradient: 'none' },
    ),
  ),
  one('Range', 'fractions', [], () => tf.range(0, 1, 0.1), { gradient: 'none' }),
  one('Reshape', 'inferred', [f32([2, 3, 7])], (x) => tf.reshape(x!, [6, -1])),
  one('Reshape', 'there and back, transposed between', [f32([2, 3, 7])], (x) =>
    tf.reshape(tf.transpose(tf.reshape(x!, [6, 7])), [7, 2, 3]),
  ),
  one('Reshape', 'to a scalar', [f32([1, 1])], (x) => tf.reshape(x!, [])),
  ...[[0], [1], [0, 2], [-1]].map((axes) =>
    one('Reverse', JSON.stringify(axes), [f32([2, 3, 7])], (x) => tf.reverse(x!, axes)),
  ),
  one('Reverse', 'scalar', [f32([])], (x) => tf.reverse(x!), { gradient: 'none' }),
  one('Slice', 'middle', [f32([5, 7])], (x) => tf.slice(x!, [1, 2], [3, 4])),
  one('Slice', 'to the end', [f32([5, 7])], (x) => tf.slice(x!, [1, 2], [-1, -1])),
  one('Slice', 'bool', [bool([33])], (x) => tf.slice(x!, 3, 5), { gradient: 'none' }),
  one('Slice', 'nothing', [f32([5, 7])], (x) => tf.slice(x!, [1, 2], [0, 4]), { gradient: 'none' }),
  one('SplitV', 'equal', [f32([3, 6])], (x) => tf.split(x!, 3, 1)),
  one('SplitV', 'sizes', [f32([3, 7])], (x) => tf.split(x!, [1, 4, 2], 1)),
  one('SplitV', 'only one part used', [f32([3, 6])], (x) => tf.split(x!, 3, 1)[1]!),
  one('StridedSlice', 'steps', [f32([5, 7])], (x) => tf.stridedSlice(x!, [0, 1], [5, 7], [2, 3]), { gradient: 'none' }),
  one('StridedSlice', 'backwards', [f32([5, 7])], (x) => tf.stridedSlice(x!, [4, 6], [0, 0], [-1, -2]), {
    gradient: 'none',
  }),
  one('StridedSlice', 'masks', [f32([5, 7])], (x) => tf.stridedSlice(x!, [1, 2], [9, 9], [1, 1], 1, 2, 0, 0, 2), {
    gradient: 'none',
  }),
  one(
    'StridedSlice',
    'new axis',
    [f32([5, 7])],
    (x) => tf.stridedSlice(x!, [0, 0, 2], [0, 5, 5], [1, 1, 1], 0, 0, 0, 1, 0),
    { gradient: 'none' },
  ),
  one('Tile', 'matrix', [f32([3, 7])], (x) => tf.tile(x!, [2, 3])),
  one('Tile', 'int32', [i32([7])], (x) => tf.tile(x!, [3]), { gradient: 'none' }),
  one('Tile', 'bool', [bool([3])], (x) => tf.tile(x!, [3]), { gradient: 'none' }),
  one('Tile', 'length 1', [f32([1, 7])], (x) => tf.mul(tf.tile(x!, [3, 1]), tf.tensor2d([[1], [2], [3]]))),
  ...[
    [0, 2, 1],
    [2, 1, 0],
    [1, 0, 2],
    [1, 2, 0],
  ].map((perm) => one('Transpose', perm.join(), [f32([2, 3, 7])], (x) => tf.transpose(x!, perm))),
  one('Transpose', 'of axes of length 1', [f32([1, 3, 1, 7])], (x) => tf.transpose(x!, [1, 0, 3, 2])),
  one('Transpose', 'twice', [f32([2, 3, 7])], (x) => tf.transpose(tf.transpose(x!, [2, 0, 1]), [1, 2, 0])),
  one('Transpose', 'bool', [bool([3, 7])], (x) => tf.transpose(x!), { gradient: 'none' }),
  ...[0, 1].map((axis) => one('Unpack', `axis ${axis}`, [f32([3, 7])], (x) => tf.unstack(x!, axis))),
];

const indexCases: KernelCase[] = [
  one('Bincount', 'unweighted', [i32([33], whole(0, 6))], (x) => tf.bincount(x as tf.Tensor1D, tf.tensor1d([]), 5), {
    gradient: 'none',
  }),
  one(
    'Bincount',
    'weighted',
    [i32([33], whole(0, 6)), f32([33])],
    (x, w) => tf.bincount(x as tf.Tensor1D, w as tf.Tensor1D, 7),
    { gradient: 'none' },
  ),
  one(
    'DenseBincount',
    'matrix',
    [i32([3, 31], whole(0, 6))],
    (x) => tf.denseBincount(x as tf.Tensor2D, tf.tensor2d([], [0, 0]), 7),
    { gradient: 'none' },
  ),
  one(
    'DenseBincount',
    'presence',
    [i32([3, 7], whole(0, 6))],
    (x) => tf.denseBincount(x as tf.Tensor2D, tf.tensor2d([], [0, 0]), 7, true),
    { gradient: 'none' },
  ),
  one('GatherNd', 'rows', [f32([5, 7]), i32([3, 1], whole(0, 4))], (x, i) => tf.gatherND(x!, i!), {
    gradient: 'differences',
  }),
  one('GatherNd', 'values', [f32([5, 7]), i32([3, 4, 2], whole(0, 4))], (x, i) => tf.gatherND(x!, i!), {
    gradient: 'differences',
  }),
  ...[0, 1, 2].map((axis) =>
    one('GatherV2', `axis ${axis}`, [f32([5, 6, 7]), i32([9], whole(0, 4))], (x, i) => tf.gather(x!, i!, axis)),
  ),
  one('GatherV2', 'matrix of indices', [f32([33, 7]), i32([2, 31], whole(0, 32))], (x, i) => tf.gather(x!, i!)),
  one('GatherV2', 'one index', [f32([33, 7]), i32([], () => 4)], (x, i) => tf.gather(x!, i!)),
  one('GatherV2', 'batch axes', [f32([3, 5, 7]), i32([3, 4], whole(0, 4))], (x, i) => tf.gather(x!, i!, 1, 1), {
    gradient: 'differences',
  }),
  one('GatherV2', 'one value a row', [f32([31, 7]), i32([31, 1], whole(0, 6))], (x, i) => tf.gather(x!, i!, 1, 1), {
    gradient: 'differences',
  }),
  one(
    'GatherV2',
    'batch axes before the axis',
    [f32([2, 3, 5, 7]), i32([2, 4], whole(0, 4))],
    (x, i) => tf.gather(x!, i!, 2, 1),
    { gradient: 'differences' },
  ),
  one('GatherV2', 'int32', [i32([5, 7]), i32([3], whole(0, 4))], (x, i) => tf.gather(x!, i!), { gradient: 'none' }),
  one('OneHot', 'in and out of range', [i32([31], whole(-2, 8))], (x) => tf.oneHot(x!, 7), { gradient: 'none' }),
  one('OneHot', 'other values', [i32([3, 7], whole(0, 4))], (x) => tf.oneHot(x!, 5, 0.9, 0.1), { gradient: 'none' }),
  one('OneHot', 'float32', [i32([3], whole(0, 4))], (x) => tf.oneHot(x!, 5, 1, 0, 'float32'), { gradient: 'none' }),
  one(
    'ScatterNd',
    'rows that repeat',
    [i32([9, 1], whole(0, 3)), f32([9, 7])],
    (i, x) => tf.scatterND(i!, x!, [5, 7]),
    { gradient: 'differences' },
  ),
  one('ScatterNd', 'int32', [i32([9, 1], whole(0, 3)), i32([9])], (i, x) => tf.scatterND(i!, x!, [5]), {
    gradient: 'none',
  }),
  one(
    'TensorScatterUpdate',
    'rows',
    [f32([5, 7]), { ...i32([3, 1]), value: (i) => 2 * i }, f32([3, 7], between(5, 6))],
    (x, i, u) => tf.tensorScatterUpdate(x!, i!, u!),
    { gradient: 'differences' },
  ),
  one('UnsortedSegmentSum', 'rows', [f32([31, 7]), i32([31], whole(0, 4))], (x, i) =>
    tf.unsortedSegmentSum(x!, i as tf.Tensor1D, 5),
  ),
  one(
    'UnsortedSegmentSum',
    'segments out of range',
    [f32([31, 7]), i32([31], whole(-2, 6))],
    (x, i) => tf.unsortedSegmentSum(x!, i as tf.Tensor1D, 5),
    { gradient: 'differences' },
  ),
  one(
    'UnsortedSegmentSum',
    'int32',
    [i32([31]), i32([31], whole(0, 4))],
    (x, i) => tf.unsortedSegmentSum(x!, i as tf.Tensor1D, 5),
    // The CPU backend makes floats of them.
    { gradient: 'none', reference: (x, i) => tf.cast(tf.unsortedSegmentSum(x!, i as tf.Tensor1D, 5), 'int32') },
  ),
];

/** All cases. */
export const KERNEL_CASES: readonly KernelCase[] = [
  ...unaryCases,
  ...binaryCases,
  ...logicalCases,
  ...otherElementwise,
  ...reductionCases,
  ...scanCases,
  ...productCases,
  ...moveCases,
  ...indexCases,
];
