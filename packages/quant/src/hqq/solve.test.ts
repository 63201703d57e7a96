import { denseWeight, memoryBytes, randomStream } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { quantizeWeight } from '../rtn/quantize-weight.ts';
import { roundHqq } from './round.ts';
import { codeOf, HQQ_SEARCH, solveGroup } from './solve.ts';

function normal(count: number, seed = 'group'): Float32Array {
  const random = randomStream(7, seed);
  return Float32Array.from({ length: count }, () => random.normal());
}

/** Sum of |error| in steps of a scale. */
function errorOf(values: Float32Array, scale: number, zero: number, top: number): number {
  return values.reduce((sum, value) => {
    const position = value / scale;
    return sum + Math.abs(position - (codeOf(position, zero, top) - zero));
  }, 0);
}

describe('solveGroup', () => {
  it.each([2, 3, 4, 8])('has no larger errors than the range alone, at %i bits', (bits) => {
    const top = 2 ** bits - 1;
    let [better, count] = [0, 0];
    for (let group = 0; group < 50; group += 1) {
      const values = normal(64, `group ${group}`);
      const [lowest, highest] = [Math.min(...values), Math.max(...values)];
      const start = (highest - lowest) / top;
      const { scale, zero } = solveGroup(values, top + 1, HQQ_SEARCH);
      expect(scale).toBe(start);
      const [before, after] = [-lowest / start, zero].map((one) => errorOf(values, scale, one, top));
      expect(after).toBeLessThanOrEqual(before!);
      better += Number(after! < before!);
      count += 1;
    }
    // Two values of the start are exact, the ends: mostly the others gain more by a shift.
    expect(better / count).toBeGreaterThan(0.5);
  });

  it('lets one value be far off for the sake of the others', () => {
    // 1 to 3 with an outlier at the upper end, which takes the range: codes lie 4 apart, the others between two of them.
    const values = Float32Array.from([...Array<number>(63).fill(2), 0, 12]);
    const { scale, zero } = solveGroup(values, 4, HQQ_SEARCH);
    expect(scale).toBe(4);
    const restored = [...values].map((value) => (codeOf(value / scale, zero, 3) - zero) * scale);
    const wrong = restored.filter((value, i) => Math.abs(value - values[i]!) > 0.2);
    expect(wrong.length).toBeLessThanOrEqual(2);
  });

  it('gives a rescaled group the same codes', () => {
    const values = normal(64);
    const small = values.map((value) => value * 2 ** -9);
    const [a, b] = [solveGroup(values, 8, HQQ_SEARCH), solveGroup(small, 8, HQQ_SEARCH)];
    expect(b).toEqual({ scale: a.scale * 2 ** -9, zero: a.zero });
  });

  it.each([0, 3, -3, 1e-30])('restores a group of %d alone exactly', async (value) => {
    const source = memoryBytes(new Uint8Array(new Float32Array(64).fill(value).buffer));
    const weight = denseWeight({ name: 'w.weight', dtype: 'f32', shape: [2, 32], source });
    const restored = await roundHqq(weight, { bits: 4, groupSize: 32 }).toF32();
    for (const one of restored) expect(Math.abs(one - value)).toBeLessThanOrEqual(2 ** -23 * Math.abs(value));
  });
});

describe('roundHqq', () => {
  const values = normal(64 * 256, 'matrix');
  const weight = denseWeight({
    name: 'w.weight',
    dtype: 'f32',
    shape: [64, 256],
    source: memoryBytes(new Uint8Array(values.buffer)),
  });
  it('takes any rows as it takes all', async () => {
    const made = roundHqq(weight, { bits: 3, groupSize: 64, scaleDType: 'bf16' });
    const all = await made.toF32();
    expect(await made.toF32(5, 9)).toEqual(all.slice(5 * 256, 9 * 256));
  });

  it.each([2, 3, 4])('has smaller errors than rounding to nearest with zero points, at %i bits', async (bits) => {
    const sum = (restored: Float32Array) => restored.reduce((all, value, i) => all + Math.abs(value - values[i]!), 0);
    const own = sum(await roundHqq(weight, { bits, groupSize: 64 }).toF32());
    const rtn = await quantizeWeight(weight, { scheme: `w${bits}g64-asym` });
    expect(own).toBeLessThan(sum(await rtn.weight.toF32()));
  });

  it('refuses what it cannot round, by name', async () => {
    const bad = denseWeight({
      name: 'w.weight',
      dtype: 'f32',
      shape: [1, 32],
      source: memoryBytes(new Uint8Array(new Float32Array(32).fill(NaN).buffer)),
    });
    await expect(roundHqq(bad, { bits: 4, groupSize: 32 }).block()).rejects.toMatchObject({
      code: 'WEIGHT_NOT_FINITE',
    });
    expect(() => roundHqq(bad, { bits: 4, groupSize: 24 })).toThrow(
      expect.objectContaining({ code: 'GROUP_SIZE_DOES_NOT_DIVIDE' }),
    );
  });
});
