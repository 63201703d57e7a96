import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { adamw } from './adamw.ts';

beforeAll(() => tf.setBackend('cpu'));

/** Algorithm 2 of the paper as it stands there, in f64. */
function reference(weights: number[], gradients: number[][], rates: number[], decay: number): number[] {
  const [beta1, beta2, epsilon] = [0.9, 0.95, 1e-6];
  const w = [...weights];
  const m = w.map(() => 0);
  const v = w.map(() => 0);
  gradients.forEach((g, step) => {
    const t = step + 1;
    for (let i = 0; i < w.length; i++) {
      m[i] = beta1 * m[i]! + (1 - beta1) * g[i]!;
      v[i] = beta2 * v[i]! + (1 - beta2) * g[i]! ** 2;
      const mHat = m[i]! / (1 - beta1 ** t);
      const vHat = v[i]! / (1 - beta2 ** t);
      w[i] = w[i]! - rates[step]! * (mHat / (Math.sqrt(vHat) + epsilon) + decay * w[i]!);
    }
  });
  return w;
}

function run(shape: number[], weights: number[], gradients: number[][], rates: number[]): number[] {
  const optimizer = adamw({ beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1 });
  let value: tf.Tensor = tf.tensor(weights, shape);
  let slots: Readonly<Record<string, tf.Tensor>> = { mean: tf.zeros(shape), meanSquare: tf.zeros(shape) };
  gradients.forEach((g, step) => {
    const numbers = Object.entries(optimizer.scalars(step, rates[step]!)).map(([k, x]) => [k, tf.scalar(x)] as const);
    const parameter = { name: 'w', value, gradient: tf.tensor(g, shape), slots };
    ({ value, slots } = optimizer.update(parameter, Object.fromEntries(numbers)));
  });
  return [...value.dataSync()];
}

const weights = [0.5, -1.25, 3, 0];
// A zero gradient, a tiny one where epsilon counts, changing signs, a large one.
const gradients = [
  [0.3, -0.01, 0, 1e-7],
  [-0.2, 0.5, 0, -2e-7],
  [100, 0.25, 0, 3e-7],
];
const rates = [0.01, 0.02, 0.005];

describe('adamw', () => {
  it('takes the steps of the paper, decay included, on a matrix', () => {
    const expected = reference(weights, gradients, rates, 0.1);
    run([2, 2], weights, gradients, rates).forEach((w, i) => expect(w).toBeCloseTo(expected[i]!, 6));
  });

  it('does not decay a vector', () => {
    const expected = reference(weights, gradients, rates, 0);
    run([4], weights, gradients, rates).forEach((w, i) => expect(w).toBeCloseTo(expected[i]!, 6));
  });

  it('moves by the learning rate in the first step, whatever the gradient is', () => {
    const [moved] = run([1], [1], [[1234]], [0.01]);
    expect(moved).toBeCloseTo(0.99, 6);
  });

  it('names every option that is out of range', () => {
    expect(() => adamw({ beta1: 1, beta2: -0.1, epsilon: 0, weightDecay: -1 })).toThrow(
      /beta1 .* got 1; beta2 .* got -0.1; epsilon .* got 0; weightDecay .* got -1/,
    );
  });
});
