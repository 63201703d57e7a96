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

  it('groups of fp8: each by its own largest magnitude', () => {
    const form = { kind: 'group-dynamic', dtype: 'f8_e4m3', symmetric: true, size: 2, scaleDType: 'f32' } as const;
    // Scales 1 and 2^-6; the second group has codes 448 and 0.30 * 64 = 19.2, which is 20.
    expect(run([[448, -17.4, 7, 0.3]], form)).toEqual([[448, -18, 7, 20 / 64]]);
    expect(
      run([[0, 0, 1, 1]], form)[0]!
        .slice(0, 2)
        .map(Math.abs),
    ).toEqual([0, 0]);
  });

  it('exponents as scales: a mantissa of 1.75 goes to the next power of two, powers of two stay', () => {
    const fp4 = { kind: 'group-dynamic', dtype: 'f4_e2m1', symmetric: true, size: 4, scaleDType: 'f8_e8m0' } as const;
    // 6 has scale 2^(2-2) and is a code; 7 has scale 2 and is between codes 3 (6) and 4 (8), the even one of which is 8.
    expect(run([[6, 2.5, -0.25, 0.75]], fp4)).toEqual([[6, 2, 0, 1]]);
    expect(run([[7, 2.5, -0.5, 1.5]], fp4)).toEqual([[8, 2, 0, 2]]);
    // All powers of two, where a logarithm is least to be trusted: 4 is a code under the scale 2^(k - 2).
    for (let k = -100; k <= 100; k++) {
      const [row] = run([[2 ** k, (3 / 4) * 2 ** k, 0, 0]], fp4);
      expect(row).toEqual([2 ** k, (3 / 4) * 2 ** k, 0, 0]);
    }
    const fp8 = { ...fp4, dtype: 'f8_e4m3' } as const;
    expect(run([[448, 447, 17.4, 0]], fp8)).toEqual([[448, 448, 18, 0]]);
    expect(run([[449, 447, 17.4, 0]], fp8)).toEqual([[448, 448, 18, 0]]);
  });

  it('a global scale: scales in e4m3, which it divides again', () => {
    const form = { kind: 'group-dynamic', dtype: 'f4_e2m1', symmetric: true, size: 2, scaleDType: 'f8_e4m3' } as const;
    // Group one: 12 / 6 * 4 = 8 is e4m3; scale 2. Group two: 6.6 / 6 * 4 = 4.4 becomes 4.5; scale 1.125. Nothing: 0.125 / 4.
    const [row] = run([[12, -3, 6.6, 1.2, 0, 0]], form, [4, 0]);
    expect(row).toEqual([12, -3, 6.75, 1.125, 0, 0]);
    expect(() => run([[1, 2]], form)).toThrow('a global scale is needed');
  });

  it('refuses groups that do not divide the features', () => {
    const form = { kind: 'group-dynamic', dtype: 'f8_e4m3', symmetric: true, size: 3, scaleDType: 'f32' } as const;
    expect(() => run([[1, 2, 3, 4]], form)).toThrow(
      expect.objectContaining({ code: 'ACTIVATION_GROUP_DOES_NOT_DIVIDE', kind: 'input' }),
    );
  });
});
