import { compile, randomStream } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, it } from 'vitest';
import { initialParameters } from './initial-parameters.ts';
import { nextTokenLoss } from './loss.ts';
import { countingTokens, tinyLlama } from './tiny-llama.fixture.ts';
import { tokenWindows } from './token-windows.ts';

const device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());

describe('gradients of the loss', () => {
  it('are those of finite differences along every parameter tensor of a llama', async () => {
    // A large deviation, so that attention and gates are far from linear.
    const parameters = initialParameters(tinyLlama, { seed: 1, deviation: 0.4 });
    const names = Object.keys(parameters);
    const batches = tokenWindows({ tokens: countingTokens, bos: 0, context: 8, batchSize: 2, seed: 2 });
    const loss = nextTokenLoss(tinyLlama);
    const signature = {
      ...Object.fromEntries(names.map((name) => [name, { shape: parameters[name]!.shape }])),
      ...batches.signature,
    };
    const lossProgram = await compile((inputs) => loss(inputs, inputs), signature, device);
    const gradientProgram = await compile(
      (inputs) => {
        const lossOf = (...values: tf.Tensor[]) =>
          loss(Object.fromEntries(names.map((name, i) => [name, values[i]!])), inputs);
        const gradients = tf.grads(lossOf)(names.map((name) => inputs[name]!));
        return Object.fromEntries(names.map((name, i) => [`gradient of ${name}`, gradients[i]!]));
      },
      signature,
      device,
    );
    const inputs = { ...parameters, ...batches.batch(0) };
    const gradients = await gradientProgram.run(inputs);
    for (const name of names) {
      const gradient = gradients[`gradient of ${name}`]!.data as Float32Array;
      const length = Math.hypot(...gradient);
      expect(length, name).toBeGreaterThan(1e-3);
      // Along the gradient the slope is its length; random directions find what a gradient lacks.
      const random = randomStream(3, name);
      const directions = [
        gradient.map((g) => g / length),
        ...Array.from({ length: 4 }, () => gradient.map(() => (random.below(2) * 2 - 1) / Math.sqrt(gradient.length))),
      ];
      for (const [i, direction] of directions.entries()) {
        const at = async (distance: number): Promise<number> => {
          const { shape, data } = parameters[name]!;
          const moved = data.map((w, k) => w + distance * direction[k]!);
          const { output } = await lossProgram.run({ ...inputs, [name]: { dtype: 'f32', shape, data: moved } });
          return output!.data[0] as number;
        };
        const step = 2e-2;
        // Fourth order: the error is of the size of step^4.
        const outer = (await at(2 * step)) - (await at(-2 * step));
        const slope = (8 * ((await at(step)) - (await at(-step))) - outer) / (12 * step);
        const expected = gradient.reduce((sum, g, k) => sum + g * direction[k]!, 0);
        expect(Math.abs(slope - expected) / length, `${name}, direction ${i}`).toBeLessThan(3e-3);
      }
    }
  });
});
