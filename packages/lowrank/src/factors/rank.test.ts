import { describe, expect, it } from 'vitest';
import { allocateRanks, largestUsefulRank, rankByEnergy, rankByRatio, relativeTail, tailEnergy } from './rank.ts';

describe('ranks', () => {
  it('by ratio are floor((1 - ratio) m n / (m + n))', () => {
    expect(rankByRatio(64, 64, 0.2)).toBe(25);
    expect(rankByRatio(172, 64, 0.2)).toBe(37);
    expect(rankByRatio(100, 100, 0.8)).toBe(10); // 9.999999999999998 in f64
    expect(rankByRatio(4, 4, 0.9)).toBe(0);
  });

  it('are useful while two factors are smaller than the matrix', () => {
    for (const [rows, columns] of [
      [64, 64],
      [172, 64],
      [1, 9],
      [2, 3],
      [3, 6],
      [2048, 256],
    ]) {
      const most = largestUsefulRank(rows, columns);
      expect(most * (rows + columns)).toBeLessThan(rows * columns);
      expect((most + 1) * (rows + columns)).toBeGreaterThanOrEqual(rows * columns);
    }
  });

  it('by energy are the fewest that reach it', () => {
    const values = [4, 3, 2, 1]; // squares 16, 9, 4, 1 of 30
    expect([0.1, 16 / 30, 0.6, 25 / 30, 0.9, 29 / 30, 0.99, 1].map((energy) => rankByEnergy(values, energy))).toEqual([
      1, 1, 2, 2, 3, 3, 4, 4,
    ]);
    expect(rankByEnergy([0, 0], 0.5)).toBe(1);
    expect(tailEnergy(values, 2)).toBe(5);
    expect(relativeTail(values, 2)).toBeCloseTo(Math.sqrt(5 / 30), 15);
    expect(relativeTail([0, 0], 0)).toBe(0);
  });
});

describe('allocateRanks', () => {
  const falling = (share: number) => Array.from({ length: 8 }, (_, i) => share ** i);
  const spectra = [
    { path: 'steep', rows: 8, columns: 8, values: falling(0.3), weight: 1 },
    { path: 'flat', rows: 8, columns: 8, values: falling(0.95), weight: 1 },
    { path: 'wide', rows: 8, columns: 24, values: falling(0.6), weight: 1 },
  ];
  const spent = (ranks: ReadonlyMap<string, number | null>) =>
    spectra.reduce((sum, { path, rows, columns }) => {
      const rank = ranks.get(path)!;
      return sum + (rank === null ? rows * columns : rank * (rows + columns));
    }, 0);
  const error = (ranks: ReadonlyMap<string, number | null>) =>
    spectra.reduce((sum, { path, values, weight }) => sum + weight * tailEnergy(values, ranks.get(path) ?? 8), 0);

  it('is as good as any allocation of as many parameters, to one triplet', () => {
    for (const parameters of [100, 140, 180, 220]) {
      const ranks = allocateRanks(spectra, parameters);
      expect(spent(ranks)).toBeLessThanOrEqual(parameters);
      let best = Infinity;
      for (let a = 1; a <= 3; a++) {
        for (let b = 1; b <= 3; b++) {
          for (let c = 1; c <= 5; c++) {
            const tried = new Map([
              ['steep', a],
              ['flat', b],
              ['wide', c],
            ]);
            if (spent(tried) <= spent(ranks)) best = Math.min(best, error(tried));
          }
        }
      }
      expect(error(ranks)).toBeLessThanOrEqual(best + 1e-12);
    }
  });

  it('gives to the matrix whose error costs more', () => {
    const weighed = spectra.map((spectrum) => ({ ...spectrum, weight: spectrum.path === 'steep' ? 1e4 : 1 }));
    expect(allocateRanks(weighed, 120).get('steep')).toBeGreaterThan(allocateRanks(spectra, 120).get('steep')!);
  });

  it('leaves dense what two factors would not make smaller', () => {
    expect([...allocateRanks(spectra, 8 * 8 + 8 * 8 + 8 * 24).values()]).toEqual([null, null, null]);
  });
});
