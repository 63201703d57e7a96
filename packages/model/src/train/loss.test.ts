import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { evaluate, f32, i32 } from './evaluate.fixture.ts';
import { crossEntropy } from './loss.ts';

const logits = [
  [
    [1, 2, 3],
    [0, -50, 80],
  ],
  [
    [-1, -1, -1],
    [0.5, 0.25, 0],
  ],
];
const targets = [
  [0, 2],
  [1, 1],
];

/** The mean of -log softmax at the targets, in f64. */
function reference(values: number[][][]): number {
  let sum = 0;
  values.flat().forEach((row, i) => {
    const largest = Math.max(...row);
    const total = row.reduce((all, x) => all + Math.exp(x - largest), 0);
    sum += Math.log(total) + largest - row[targets.flat()[i]!]!;
  });
  return sum / 4;
}

const inputs = { x: f32([2, 2, 3], logits.flat(2)), wanted: i32([2, 2], targets.flat()) };

describe('crossEntropy', () => {
  it('is the mean negative log-likelihood of the targets', async () => {
    const { output } = await evaluate(({ x, wanted }) => crossEntropy(x as tf.Tensor3D, wanted as tf.Tensor2D), inputs);
    expect(output![0]).toBeCloseTo(reference(logits), 6);
  });

  it('has the gradient of finite differences', async () => {
    const { output } = await evaluate(
      ({ x, wanted }) => tf.grad((y) => crossEntropy(y as tf.Tensor3D, wanted as tf.Tensor2D))(x!),
      inputs,
    );
    logits.flat(2).forEach((x, i) => {
      const at = (value: number): number => {
        const moved = structuredClone(logits);
        moved[Math.floor(i / 6)]![Math.floor(i / 3) % 2]![i % 3] = value;
        return reference(moved);
      };
      expect(output![i]).toBeCloseTo((at(x + 1e-5) - at(x - 1e-5)) / 2e-5, 6);
    });
  });
});
