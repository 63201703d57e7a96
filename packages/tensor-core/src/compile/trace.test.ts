// What a trace refuses, what it restores, and what the recorder simplifies.
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { HostTensor } from '../device/device.ts';
import { cpuDevice } from '../node/cpu-device.ts';
import { compile } from './compile.ts';
import { trace } from './trace.ts';
import { TRACE_BACKEND } from './trace-backend.ts';

const device = cpuDevice({ threads: 1 });
const x1 = { x: { shape: [3] } } as const;
const f32 = (shape: readonly number[], ...data: number[]): HostTensor => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from(data),
});

beforeAll(() => tf.env().set('PROD', true));
beforeEach(async () => {
  await tf.setBackend('cpu');
});
afterAll(() => device.dispose());

const code = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return 'nothing was thrown';
};

describe('refusals', () => {
  test('an unsupported kernel is named', () => {
    const action = () =>
      trace(
        ({ x }) => tf.conv1d(tf.reshape(x, [1, 3, 1]) as tf.Tensor3D, tf.ones([1, 1, 1]), 1, 'same'),
        x1,
        'convolution',
      );
    expect(code(action)).toBe('TRACE_KERNEL_UNSUPPORTED');
    expect(action).toThrow(/"convolution": the kernel Conv2D/);
  });

  test('so is a kernel without a gradient', () => {
    const action = () => trace(({ x }) => tf.grad((y: tf.Tensor) => tf.sum(tf.topk(y, 2).values))(x), x1);
    expect(code(action)).toBe('TRACE_GRADIENT_UNSUPPORTED');
    expect(action).toThrow(/TopK/);
  });

  test('values cannot be read', () => {
    expect(code(() => trace(({ x }) => tf.scalar(x.dataSync()[0]!), x1))).toBe('TRACE_VALUE_READ');
  });

  test('values of constants can', () => {
    const graph = trace(
      ({ x }) => tf.mul(x, tf.scalar(tf.range(0, 4).dataSync()[3]! + tf.fill([2], 5).dataSync()[1]!)),
      x1,
    );
    expect(graph.stats().nodes).toBe(1);
  });

  test('traces do not nest', () => {
    expect(code(() => trace(({ x }) => (trace(({ x: y }) => y, x1), x), x1))).toBe('TRACE_NESTED');
  });

  test('a promise, nothing and numbers are no results', () => {
    expect(code(() => trace((async ({ x }: { x: tf.Tensor }) => x) as never, x1))).toBe('TRACE_RESULT');
    expect(code(() => trace(() => ({}), x1))).toBe('TRACE_RESULT');
    expect(code(() => trace((() => 3) as never, x1))).toBe('TRACE_RESULT');
    expect(code(() => trace(({ x }) => ({ x, y: 3 as never }), x1))).toBe('TRACE_RESULT');
  });

  test('the signature is checked, all inputs at once', () => {
    const action = () => trace(({ a }) => a, { a: { shape: [-1] }, b: { shape: [2], dtype: 'complex64' as never } });
    expect(code(action)).toBe('TRACE_SIGNATURE');
    expect(action).toThrow(/"a".*"b"/);
  });

  test('arithmetic on booleans asks for a cast', () => {
    expect(code(() => trace(({ x }) => tf.add(tf.greater(x, 0), tf.less(x, 1)), x1))).toBe('TRACE_KERNEL_DTYPE');
  });

  test('complex numbers and strings have no place in a graph', () => {
    expect(code(() => trace(() => tf.tensor(['a', 'b']), x1))).toBe('TRACE_DTYPE');
  });

  test('a name is used once', () => {
    expect(code(() => trace(({ x }) => ({ x: tf.neg(x) }), x1))).toBe('GRAPH_DUPLICATE_NAME');
  });
});

describe('what is restored', () => {
  const memory = (): unknown => {
    const { numTensors, numDataBuffers, numBytes } = tf.memory();
    return { numTensors, numDataBuffers, numBytes };
  };

  test('the backend, after success and after failure', () => {
    trace(({ x }) => x, x1);
    expect(tf.getBackend()).toBe('cpu');
    expect(() =>
      trace(() => {
        throw new Error('mine');
      }, x1),
    ).toThrow('mine');
    expect(tf.getBackend()).toBe('cpu');
    expect(tf.findBackend(TRACE_BACKEND)).toBe(null);
    expect(tf.add(1, 2).dataSync()[0]).toBe(3);
  });

  test('counts of tensors, with variables, kept tensors and a failure inside a gradient', () => {
    const outside = tf.tensor([1, 2, 3]);
    const before = memory();
    trace(({ x }) => {
      const weight = tf.variable(tf.ones([3]), true, 'inner');
      tf.keep(tf.mul(x, x));
      const { value } = tf.variableGrads(() => tf.sum(tf.mul(tf.mul(x, weight), outside)) as tf.Scalar, [weight]);
      return value;
    }, x1);
    expect(memory()).toEqual(before);
    const failing = (y: tf.Tensor): tf.Tensor => {
      tf.square(y);
      throw new Error('mine');
    };
    expect(() => trace(({ x }) => tf.grad(failing)(x), x1)).toThrow('mine');
    expect(memory()).toEqual(before);
    expect(Array.from(outside.dataSync())).toEqual([1, 2, 3]);
    outside.dispose();
  });

  test('registered gradients', () => {
    const before = tf.getGradient('Square');
    trace(({ x }) => tf.grad((y: tf.Tensor) => tf.square(y))(x), x1);
    expect(tf.getGradient('Square')).toBe(before);
  });

  test('variables of the caller keep their values', () => {
    const variable = tf.variable(tf.tensor([1, 2, 3]), true, 'outer');
    trace(({ x }) => tf.mul(x, variable), x1);
    expect(Array.from(variable.dataSync())).toEqual([1, 2, 3]);
    variable.dispose();
  });
});

describe('programs', () => {
  test('tensors from outside are constants', async () => {
    const outside = tf.tensor([[1, 2, 3]]);
    const program = await compile(({ x }) => tf.add(tf.add(x, outside), tf.reshape(outside, [3])), x1, device);
    const { output } = await program.run({ x: f32([3], 10, 20, 30) });
    expect(Array.from(output!.data as Float32Array)).toEqual([12, 24, 36]);
    outside.dispose();
    await program.dispose();
  });

  test('an input, a constant and one value twice can be results', async () => {
    const program = await compile(
      ({ x }) => {
        const y = tf.neg(x);
        return { same: x, constant: tf.tensor([1, 2]), large: tf.fill([33, 33], 2), first: y, second: y };
      },
      x1,
      device,
    );
    const results = await program.run({ x: f32([3], 1, 2, 3) });
    const list = (name: string): number[] => Array.from(results[name]!.data as Float32Array);
    expect(list('same')).toEqual([1, 2, 3]);
    expect(list('constant')).toEqual([1, 2]);
    expect(list('large')).toEqual(Array.from({ length: 1089 }, () => 2));
    expect(list('first')).toEqual([-1, -2, -3]);
    expect(list('second')).toEqual([-1, -2, -3]);
    await program.dispose();
  });

  test('inputs that no result needs stay inputs', async () => {
    const program = await compile(({ x }) => tf.neg(x), { ...x1, unused: { shape: [2], dtype: 'int32' } }, device);
    expect(Object.keys(program.inputs)).toEqual(['x', 'unused']);
    const { output } = await program.run({
      x: f32([3], 1, 2, 3),
      unused: { dtype: 'i32', shape: [2], data: new Int32Array(2) },
    });
    expect(output!.data).toEqual(Float32Array.of(-1, -2, -3));
    await program.dispose();
  });

  test('empty tensors pass through', async () => {
    const program = await compile(({ x }) => ({ y: tf.neg(x), s: tf.sum(x) }), { x: { shape: [0, 3] } }, device);
    const { y, s } = await program.run({ x: f32([0, 3]) });
    expect(y).toEqual(f32([0, 3]));
    expect(s).toEqual(f32([], 0));
    await program.dispose();
  });

  test('gradients of gradients', async () => {
    const cubeSum = (y: tf.Tensor): tf.Tensor => tf.sum(tf.mul(y, tf.mul(y, y)));
    const program = await compile(({ x }) => tf.grad((y: tf.Tensor) => tf.sum(tf.grad(cubeSum)(y)))(x), x1, device);
    const { output } = await program.run({ x: f32([3], 1, 2, 3) });
    expect(Array.from(output!.data as Float32Array)).toEqual([6, 12, 18]);
    await program.dispose();
  });

  test('a custom gradient is used', async () => {
    const straightThrough = tf.customGrad((y) => ({
      value: tf.round(y as tf.Tensor),
      gradFunc: (dy: tf.Tensor) => dy,
    }));
    const program = await compile(({ x }) => tf.grad((y: tf.Tensor) => tf.sum(straightThrough(y)))(x), x1, device);
    const { output } = await program.run({ x: f32([3], 0.2, 0.6, 0.9) });
    expect(Array.from(output!.data as Float32Array)).toEqual([1, 1, 1]);
    await program.dispose();
  });
});

describe('simplifications', () => {
  const operators = (
    fn: Parameters<typeof trace>[0],
    signature = { x: { shape: [3, 4] }, y: { shape: [4] } },
  ): unknown => trace(fn as never, signature).stats().operators;

  test('equal operations are recorded once', () => {
    expect(operators(({ x }) => tf.add(tf.exp(x!), tf.mul(tf.exp(x!), tf.exp(x!))))).toEqual({
      Exp: 1,
      Mul: 1,
      Add: 1,
    });
  });

  test('what no result needs is dropped', () => {
    expect(operators(({ x }) => (tf.exp(x!), tf.neg(x!)))).toEqual({ Neg: 1 });
  });

  test('neutral operands vanish, constants fold', () => {
    expect(operators(({ x }) => tf.add(tf.mul(x!, tf.div(tf.ones([3, 4]), tf.scalar(1))), tf.zeros([4])))).toEqual({});
    expect(operators(({ x }) => tf.mul(x!, tf.sub(tf.scalar(3), tf.scalar(1))))).toEqual({ Mul: 1 });
  });

  test('a negative that is added is subtracted; booleans are cast once', () => {
    expect(operators(({ x, y }) => tf.add(tf.neg(y!), tf.sub(x!, tf.neg(y!))))).toEqual({ Add: 1, Sub: 1 });
    expect(operators(({ x }) => tf.cast(tf.cast(tf.greater(x!, tf.scalar(0)), 'int32'), 'float32'))).toEqual({
      Greater: 1,
      Cast: 1,
    });
  });

  test('a broadcast is absorbed by the operation that uses it', () => {
    expect(operators(({ x, y }) => tf.mul(x!, tf.broadcastTo(y!, [3, 4])))).toEqual({ Mul: 1 });
  });

  test('transposes and reshapes that cancel vanish', () => {
    expect(operators(({ x }) => tf.transpose(tf.transpose(x!)))).toEqual({});
    expect(operators(({ x }) => tf.reshape(tf.reshape(x!, [12]), [3, 4]))).toEqual({});
  });

  test('equal constants are kept once', () => {
    const constant = (): tf.Tensor => tf.tensor([1, 2, 3, 4]);
    const { constants, constantBytes } = trace(({ x }) => tf.add(tf.mul(x, constant()), constant()), {
      x: { shape: [3, 4] },
    }).stats();
    expect({ constants, constantBytes }).toEqual({ constants: 1, constantBytes: 16 });
  });
});
