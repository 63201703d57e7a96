// Losses and their gradients, compiled as the trainer compiles them, against finite differences.
import { compile, randomStream } from '@pith/tensor-core';
import type { HostTensor, TensorSpec } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';

/** Values of a normal distribution. */
export function normal(name: string, shape: readonly number[], deviation = 1): HostTensor<'f32'> {
  const random = randomStream(11, name);
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => deviation * random.normal());
  return { dtype: 'f32', shape, data };
}

/** A f32 or i32 tensor. */
export type Input = HostTensor<'f32' | 'i32'>;

/** Tensors by name. */
export type Named = Readonly<Record<string, tf.Tensor>>;

/** The value of a loss. */
export async function valueOf(
  loss: (inputs: Named) => tf.Tensor,
  inputs: Readonly<Record<string, Input>>,
): Promise<number> {
  const device = cpuDevice({ threads: 1 });
  const program = await compile(loss, signatureOf(inputs), device);
  const { output } = await program.run(inputs);
  await device.dispose();
  return output!.data[0] as number;
}

const signatureOf = (inputs: Readonly<Record<string, Input>>): Record<string, TensorSpec> =>
  Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, dtype }]) => [
      name,
      { shape, dtype: dtype === 'f32' ? 'float32' : 'int32' } as const,
    ]),
  );

/**
 * Expects the gradient of a loss in each of `names` to be that of finite differences (fourth order) along the gradient and
 * along random directions, within `tolerance` of its length.
 */
export async function expectGradient(
  loss: (inputs: Named) => tf.Scalar,
  inputs: Readonly<Record<string, Input>>,
  names: readonly string[],
  { step = 2e-2, tolerance = 3e-3 } = {},
): Promise<void> {
  const device = cpuDevice({ threads: 1 });
  const signature = signatureOf(inputs);
  const lossProgram = await compile(loss, signature, device);
  const gradientProgram = await compile(
    (given) => {
      const lossOf = (...values: tf.Tensor[]) =>
        loss({ ...given, ...Object.fromEntries(names.map((name, i) => [name, values[i]!])) });
      const gradients = tf.grads(lossOf)(names.map((name) => given[name]!));
      return Object.fromEntries(names.map((name, i) => [`gradient of ${name}`, gradients[i]!]));
    },
    signature,
    device,
  );
  const gradients = await gradientProgram.run(inputs);
  for (const name of names) {
    const gradient = gradients[`gradient of ${name}`]!.data as Float32Array;
    const length = Math.hypot(...gradient);
    expect(length, name).toBeGreaterThan(1e-4);
    const random = randomStream(3, name);
    const directions = [
      gradient.map((g) => g / length),
      ...Array.from({ length: 3 }, () => gradient.map(() => (random.below(2) * 2 - 1) / Math.sqrt(gradient.length))),
    ];
    for (const [i, direction] of directions.entries()) {
      const at = async (distance: number): Promise<number> => {
        const { shape, data } = inputs[name] as HostTensor<'f32'>;
        const moved = data.map((w, k) => w + distance * direction[k]!);
        const { output } = await lossProgram.run({ ...inputs, [name]: { dtype: 'f32', shape, data: moved } });
        return output!.data[0] as number;
      };
      const outer = (await at(2 * step)) - (await at(-2 * step));
      const slope = (8 * ((await at(step)) - (await at(-step))) - outer) / (12 * step);
      const expected = gradient.reduce((sum, g, k) => sum + g * direction[k]!, 0);
      expect(Math.abs(slope - expected) / length, `${name}, direction ${i}`).toBeLessThan(tolerance);
    }
  }
  await device.dispose();
}
