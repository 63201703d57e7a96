import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { roundHalfToEven } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { fakeQuantizeActivations } from './fake-activations.ts';

// tfjs advertises its Node binding on the console otherwise.
tf.env().set('IS_TEST', true);

const { fround } = Math;
const run = (rows: number[][], form: Parameters<typeof fakeQuantizeActivations>[1], fixed?: [number, number]) =>
  fakeQuantizeActivations(
    tf.tensor2d(rows),
    form,
    fixed && { scale: tf.tensor1d([fixed[0]]), zeroPoint: tf.tensor1d([fixed[1]]) },
  ).arraySync() as number[][];

describe('fakeQuantizeActivations', () => {
  it('one scale per token: the largest magnitude over 127.5, half to even', () => {
    const [row, zeros] = run(
      [
        [255, -127, 3, 1],
        [0, 0, 0, 0],
      ],
      { kind: 'token-dynamic', dtype: 'i8', symmetric: true },
    );
    // Scale 2: codes 127 (127.5 is clamped), -64 (-63.5), 2 (1.5), 0 (0.5).
    expect(row).toEqual([254, -128, 4, 0]);
    expect(zeros!.map(Math.abs)).toEqual([0, 0, 0, 0]);
  });

  it('with a zero point per token: the whole range of the codes', () => {
    const [row] = run([[-100, 155, 0.4, 27.6]], { kind: 'token-dynamic', dtype: 'i8', symmetric: false });
    expect(row).toEqual([-100, 155, 0, 28]);
  });

  it('a static scale clips what calibration has not seen', () => {
    const form = { kind: 'tensor-static', dtype: 'i8', symmetric: true } as const;
    expect(run([[1000, -1000, 0.26, 0.25]], form, [0.5, 0])).toEqual([[63.5, -64, 0.5, 0]]);
    const shifted = { ...form, symmetric: false };
    expect(run([[1000, -1000, 0.26, 0.25]], shifted, [0.5, -100])).toEqual([[113.5, -14, 0.5, 0]]);
  });

  it('e4m3: every value of the format stays, all others go to the nearer of their neighbours', () => {
    const form = { kind: 'tensor-static', dtype: 'f8_e4m3', symmetric: true } as const;
    const values = Array.from({ length: 127 }, (_, code) => {
      const [exponent, mantissa] = [code >> 3, code & 7];
      return exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
    });
    expect(run([values], form, [1, 0])[0]).toEqual(values);
    const between = values.slice(1).map((value, i) => fround(values[i]! + (value - values[i]!) * 0.4999));
    expect(run([between], form, [1, 0])[0]).toEqual(values.slice(0, -1));
    const middles = values.slice(1).map((value, i) => (value + values[i]!) / 2);
    const even = middles.map((_, i) => values[i % 2 === 0 ? i : i + 1]!);
    expect(run([middles], form, [1, 0])[0]).toEqual(even);
    expect(run([[1e6, -460, -0.3]], form, [1, 0])[0]).toEqual([448, -448, -roundHalfToEven(0.3 * 32) / 32]);
  });
});
