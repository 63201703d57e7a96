import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { crossEntropy } from './loss.ts';

beforeAll(() => tf.setBackend('cpu'));

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

describe('crossEntropy', () => {
  it('is the mean negative log-likelihood of the targets', () => {
    const value = crossEntropy(tf.tensor3d(logits), tf.tensor2d(targets, [2, 2], 'int32')).dataSync()[0]!;
    expect(value).toBeCloseTo(reference(logits), 6);
  });

  it('has the gradient of finite differences', () => {
    const gradient = tf.grad((x) => crossEntropy(x as tf.Tensor3D, tf.tensor2d(targets, [2, 2], 'int32')))(
      tf.tensor3d(logits),
    );
    const found = gradient.arraySync() as number[][][];
    logits.forEach((rows, b) =>
      rows.forEach((row, t) =>
        row.forEach((x, k) => {
          const at = (value: number): number => {
            const moved = structuredClone(logits);
            moved[b]![t]![k] = value;
            return reference(moved);
          };
          expect(found[b]![t]![k]).toBeCloseTo((at(x + 1e-5) - at(x - 1e-5)) / 2e-5, 6);
        }),
      ),
    );
  });
});
