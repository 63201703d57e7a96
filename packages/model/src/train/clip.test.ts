import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { clipFactor, globalNorm } from './clip.ts';

beforeAll(() => tf.setBackend('cpu'));

describe('clipping', () => {
  it('takes the norm over all gradients at once', () => {
    // 1 + 4 + 4 + 16 = 25
    expect(globalNorm([tf.tensor1d([1, -2]), tf.tensor2d([[2], [-4]])]).dataSync()[0]).toBe(5);
  });

  it('scales a norm above the limit down to it and leaves a smaller one alone', () => {
    expect(clipFactor(tf.scalar(5), 1).dataSync()[0]).toBeCloseTo(0.2, 7);
    expect(clipFactor(tf.scalar(0.25), 1).dataSync()[0]).toBe(1);
    expect(clipFactor(tf.scalar(0), 1).dataSync()[0]).toBe(1);
  });
});
