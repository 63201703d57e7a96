// Every recorded kernel, and its gradient, against tfjs's own CPU backend and gradient functions.
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { HostTensor } from '../device/device.ts';
import { cpuDevice } from '../node/cpu-device.ts';
import { compile } from './compile.ts';
import { KERNEL_CASES, between } from './kernels/cases.fixture.ts';
import type { KernelCase, Operand } from './kernels/cases.fixture.ts';
import { COMPILED_KERNELS } from './kernels/index.ts';
import { hostArray, sizeOf } from './onnx/onnx-types.ts';

const device = cpuDevice({ threads: 1 });
beforeAll(async () => {
  tf.env().set('PROD', true); // the CPU backend greets on the console otherwise
  await tf.setBackend('cpu');
});
afterAll(() => device.dispose());

const HOST = { float32: 'f32', int32: 'i32', bool: 'bool' } as const;
const asList = (x: tf.Tensor | tf.Tensor[]): tf.Tensor[] => (Array.isArray(x) ? x : [x]);

function values({ shape, dtype, value }: Operand): HostTensor {
  const n = sizeOf(shape);
  const data = hostArray(HOST[dtype], n) as Float32Array;
  for (let i = 0; i < n; i++) data[i] = value(i, n);
  return { dtype: HOST[dtype], shape, data };
}

// A fixed weight for each value of each result, so that the gradient tells them apart.
function weighted(results: tf.Tensor[]): tf.Scalar {
  const weight = between(-1, 1, 11);
  const terms = results
    .filter(({ dtype }) => dtype === 'float32')
    .map((y, i) => {
      const w = Float32Array.from({ length: y.size }, (_, j) => weight(j + i * 13, 0));
      return tf.sum(tf.mul(y, tf.tensor(w, y.shape)));
    });
  return tf.addN(terms) as tf.Scalar;
}

interface Results {
  readonly outputs: readonly HostTensor[];
  readonly gradients: readonly Float32Array[];
}

// Results and gradients in one program.
async function compiled({
  fn,
  operands,
  gradient,
  kernel,
  title,
}: KernelCase): Promise<Results & { loss: (at: HostTensor[]) => Promise<number> }> {
  const floats = operands.map(({ dtype }) => dtype === 'float32');
  const program = await compile(
    (inputs) => {
      const x = operands.map((_, i) => inputs[`x${i}`]!);
      const results = asList(fn(...x));
      const out: Record<string, tf.Tensor> = {};
      results.forEach((y, i) => (out[`y${i}`] = y));
      if (gradient === 'none') return out;
      const wanted = x.filter((_, i) => floats[i]);
      const loss = (...free: tf.Tensor[]): tf.Scalar => {
        let next = 0;
        return weighted(asList(fn(...x.map((input, i) => (floats[i] ? free[next++]! : input)))));
      };
      const { value, grads } = tf.valueAndGrads(loss)(wanted);
      out['loss'] = value;
      grads.forEach((g, i) => (out[`g${i}`] = g));
      return out;
    },
    Object.fromEntries(operands.map(({ shape, dtype }, i) => [`x${i}`, { shape, dtype }])),
    device,
    { name: `${kernel} ${title}` },
  );
  const run = (at: HostTensor[]): Promise<Record<string, HostTensor>> =>
    program.run(Object.fromEntries(at.map((tensor, i) => [`x${i}`, tensor])));
  const all = await run(operands.map(values));
  const named = (prefix: string): HostTensor[] =>
    Object.entries(all)
      .filter(([name]) => new RegExp(`^${prefix}\\d+$`).test(name))
      .map(([, tensor]) => tensor);
  return {
    outputs: named('y'),
    gradients: named('g').map(({ data }) => data as Float32Array),
    loss: async (at) => ((await run(at))['loss']!.data as Float32Array)[0]!,
  };
}

function eager({ fn, reference, operands, gradient }: KernelCase): { outputs: tf.Tensor[]; gradients: tf.Tensor[] } {
  const x = operands.map((operand) =>
    tf.tensor(values(operand).data as Float32Array, [...operand.shape], operand.dtype),
  );
  const outputs = asList((reference ?? fn)(...x));
  if (gradient !== 'tfjs') return { outputs, gradients: [] };
  const floats = operands.map(({ dtype }) => dtype === 'float32');
  const gradients = tf.grads((...free: tf.Tensor[]) => {
    let next = 0;
    return weighted(asList(fn(...x.map((input, i) => (floats[i] ? free[next++]! : input)))));
  })(x.filter((_, i) => floats[i]));
  return { outputs, gradients };
}

function expectClose(got: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number, what: string): void {
  expect(got.length, `${what}: length`).toBe(wanted.length);
  for (let i = 0; i < wanted.length; i++) {
    const [a, b] = [got[i]!, wanted[i]!];
    if (Object.is(a, b) || a === b) continue;
    const error = Math.abs(a - b) / (1 + Math.abs(b));
    if (!(error <= tolerance)) expect.fail(`${what}: value ${i} is ${a}, the reference has ${b}`);
  }
}

// Central differences in one direction at a time.
async function differences(
  loss: (at: HostTensor[]) => Promise<number>,
  operands: readonly Operand[],
  which: number,
): Promise<Float32Array> {
  const at = operands.map(values);
  const x = at[which]!.data as Float32Array;
  const step = 2 ** -6;
  const slopes = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const centre = x[i]!;
    x[i] = centre + step;
    const up = await loss(at);
    x[i] = centre - step;
    const down = await loss(at);
    x[i] = centre;
    slopes[i] = (up - down) / (2 * step);
  }
  return slopes;
}

const kernels = [...new Set(KERNEL_CASES.map(({ kernel }) => kernel))];

describe.each(kernels)('%s', (kernel) => {
  test.each(KERNEL_CASES.filter((each) => each.kernel === kernel).map((each) => [each.title, each] as const))(
    '%s',
    async (_, each) => {
      const got = await compiled(each);
      const wanted = tf.tidy(() => {
        const { outputs, gradients } = eager(each);
        return {
          outputs: outputs.map((y) => ({
            shape: y.shape,
            dtype: HOST[y.dtype as keyof typeof HOST],
            data: y.dataSync(),
          })),
          gradients: gradients.map((g) => g.dataSync()),
        };
      });
      expect(got.outputs.map(({ shape }) => shape)).toEqual(wanted.outputs.map(({ shape }) => shape));
      expect(got.outputs.map(({ dtype }) => dtype)).toEqual(wanted.outputs.map(({ dtype }) => dtype));
      wanted.outputs.forEach(({ data, dtype }, i) => {
        expectClose(
          got.outputs[i]!.data as Float32Array,
          data,
          dtype === 'f32' ? (each.tolerance ?? 2e-6) : 0,
          `result ${i}`,
        );
      });
      wanted.gradients.forEach((data, i) =>
        expectClose(got.gradients[i]!, data, each.tolerance ?? 5e-6, `gradient ${i}`),
      );
      if (each.gradient === 'differences') {
        const floats = each.operands.flatMap(({ dtype }, i) => (dtype === 'float32' ? [i] : []));
        for (const [order, operand] of floats.entries()) {
          const slopes = await differences(got.loss, each.operands, operand);
          expectClose(got.gradients[order]!, slopes, 2e-3, `gradient ${order} against differences`);
        }
      }
    },
  );
});

test('every recorded kernel has a case', () => {
  expect(kernels.toSorted()).toEqual(COMPILED_KERNELS);
});
