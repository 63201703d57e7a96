import { describe, expect, it } from 'vitest';
import type { Scalar } from '@tensorflow/tfjs-core';
import { clipFactor, globalNorm } from './clip.ts';
import { evaluate, f32 } from './evaluate.fixture.ts';

describe('clipping', () => {
  it('takes the norm over all gradients at once', async () => {
    // 1 + 4 + 4 + 16 = 25
    const inputs = { a: f32([2], [1, -2]), b: f32([2, 1], [2, -4]) };
    expect(await evaluate(({ a, b }) => globalNorm([a!, b!]), inputs)).toEqual({ output: [5] });
  });

  it('scales a norm above the limit down to it and leaves a smaller one alone', async () => {
    const factor = async (norm: number): Promise<number> =>
      (await evaluate(({ x }) => clipFactor(x as Scalar, 1), { x: f32([], [norm]) }))['output']![0]!;
    expect(await factor(5)).toBeCloseTo(0.2, 7);
    expect(await factor(0.25)).toBe(1);
    expect(await factor(0)).toBe(1);
  });
});
