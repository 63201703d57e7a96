import type { Scalar } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { adamw } from './adamw.ts';
import { evaluate, f32 } from './evaluate.fixture.ts';

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

async function run(shape: number[], weights: number[], gradients: number[][], rates: number[]): Promise<number[]> {
  const optimizer = adamw({ beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1 });
  let value = weights;
  let mean = weights.map(() => 0);
  let meanSquare = mean;
  for (const [step, g] of gradients.entries()) {
    const scalars = Object.entries(optimizer.scalars(step, rates[step]!));
    const outputs = await evaluate(
      (inputs) => {
        const result = optimizer.update(
          {
            name: 'w',
            value: inputs['value']!,
            gradient: inputs['gradient']!,
            slots: { mean: inputs['mean']!, meanSquare: inputs['meanSquare']! },
          },
          Object.fromEntries(scalars.map(([name]) => [name, inputs[name] as Scalar])),
        );
        return { newValue: result.value, newMean: result.slots['mean']!, newMeanSquare: result.slots['meanSquare']! };
      },
      {
        value: f32(shape, value),
        gradient: f32(shape, g),
        mean: f32(shape, mean),
        meanSquare: f32(shape, meanSquare),
        ...Object.fromEntries(scalars.map(([name, x]) => [name, f32([], [x])])),
      },
    );
    value = outputs['newValue']!;
    mean = outputs['newMean']!;
    meanSquare = outputs['newMeanSquare']!;
  }
  return value;
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
  it('takes the steps of the paper, decay included, on a matrix', async () => {
    const expected = reference(weights, gradients, rates, 0.1);
    (await run([2, 2], weights, gradients, rates)).forEach((w, i) => expect(w).toBeCloseTo(expected[i]!, 6));
  });

  it('does not decay a vector', async () => {
    const expected = reference(weights, gradients, rates, 0);
    (await run([4], weights, gradients, rates)).forEach((w, i) => expect(w).toBeCloseTo(expected[i]!, 6));
  });

  it('moves by the learning rate in the first step, whatever the gradient is', async () => {
    const [moved] = await run([1], [1], [[1234]], [0.01]);
    expect(moved).toBeCloseTo(0.99, 6);
  });

  it('names every option that is out of range', () => {
    expect(() => adamw({ beta1: 1, beta2: -0.1, epsilon: 0, weightDecay: -1 })).toThrow(
      /beta1 .* got 1; beta2 .* got -0.1; epsilon .* got 0; weightDecay .* got -1/,
    );
  });
});
