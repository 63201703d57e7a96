import { describe, expect, it } from 'vitest';
import { philox4x32, type Words4 } from './philox.ts';
import { randomStream } from './random-stream.ts';

describe('philox4x32', () => {
  // Random123 1.14, tests/kat_vectors, lines "philox4x32 10".
  const F = 0xffffffff;
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [F, F, F, F],
      [F, F],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ] as [Words4, [number, number], Words4][])('gives the published answer for %j', (counter, key, expected) => {
    expect(philox4x32(counter, key)).toEqual(expected);
  });
});

describe('randomStream', () => {
  it('repeats itself for the same seed and name, and for nothing else', () => {
    const draw = (seed: number, name: string | number) =>
      Array.from(
        { length: 5 },
        (
          (s) => () =>
            s.word()
        )(randomStream(seed, name)),
      );
    expect(draw(1, 'a')).toEqual(draw(1, 'a'));
    expect(draw(1, 'a')).not.toEqual(draw(1, 'b'));
    expect(draw(1, 'a')).not.toEqual(draw(2, 'a'));
    expect(draw(1, 'a')).not.toEqual(draw(1 + 2 ** 32, 'a'));
    expect(draw(3, 12)).toEqual(draw(3, '12'));
  });

  it('is pinned: other numbers would be a breaking change', () => {
    const stream = randomStream(42, 'pinned');
    expect([stream.word(), stream.word(), stream.word(), stream.word(), stream.word()]).toEqual([
      737090897, 1583890994, 4067308296, 3984322637, 1823758211,
    ]);
  });

  it('jumps to any place', () => {
    const all = randomStream(9, 'jump');
    const words = Array.from({ length: 23 }, () => all.word());
    for (const start of [0, 1, 3, 4, 7, 20]) {
      const from = all.at(start);
      expect(Array.from({ length: 23 - start }, () => from.word())).toEqual(words.slice(start));
    }
    expect(all.position).toBe(23);
    const far = all.at(2 ** 40 + 1);
    expect(far.word()).not.toBe(words[1]); // the upper half of the counter counts
  });

  it('draws uniform numbers with the moments of their distribution', () => {
    const stream = randomStream(5, 'uniform');
    const values = Float64Array.from({ length: 100_000 }, () => stream.uniform());
    expect(Math.min(...values.subarray(0, 50_000))).toBeGreaterThanOrEqual(0);
    expect(Math.max(...values.subarray(0, 50_000))).toBeLessThan(1);
    // Five standard deviations of the mean, 1 / sqrt(12 n), and of the mean square, sqrt(4 / 45 / n).
    expect(Math.abs(mean(values) - 1 / 2)).toBeLessThan(0.0046);
    expect(Math.abs(mean(values.map((x) => x * x)) - 1 / 3)).toBeLessThan(0.0048);
    const single = stream.uniform32();
    expect(Math.fround(single)).toBe(single);
  });

  it('draws normal numbers with the moments of their distribution', () => {
    const stream = randomStream(5, 'normal');
    const values = Float64Array.from({ length: 100_000 }, () => stream.normal());
    // Five standard deviations: 1, sqrt 2, sqrt 15, sqrt 96 over sqrt n for the first four moments.
    for (const [power, moment, deviation] of [
      [1, 0, 1],
      [2, 1, 2],
      [3, 0, 15],
      [4, 3, 96],
    ] as const) {
      expect(Math.abs(mean(values.map((x) => x ** power)) - moment)).toBeLessThan(5 * Math.sqrt(deviation / 100_000));
    }
    // Neighbours are not correlated.
    expect(Math.abs(mean(values.subarray(1).map((x, i) => x * values[i]!)))).toBeLessThan(5 / Math.sqrt(99_999));
  });

  it('draws integers evenly: chi-squared of 10 classes under its 99.99th percentile', () => {
    const stream = randomStream(5, 'below');
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 50_000; i++) counts[stream.below(10)]!++;
    const chiSquared = counts.reduce((sum, count) => sum + (count - 5000) ** 2 / 5000, 0);
    expect(chiSquared).toBeLessThan(33.72);
    expect(stream.below(1)).toBe(0);
    expect(stream.below(2 ** 32)).toBeLessThan(2 ** 32);
  });

  it('permutes: every order of four, each about as often', () => {
    const stream = randomStream(5, 'permutation');
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const order = stream.permutation(4).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    const chiSquared = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chiSquared).toBeLessThan(58.6); // 23 degrees of freedom, 99.99th percentile
    expect([...randomStream(1, 'p').permutation(100)].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, i) => i),
    );
    expect(stream.permutation(0)).toHaveLength(0);
  });

  it('refuses seeds and ranges that are none', () => {
    for (const seed of [-1, 0.5, NaN, 2 ** 53]) {
      expect(() => randomStream(seed, 'x')).toThrow(expect.objectContaining({ code: 'RANDOM_OPTION' }));
    }
    expect(() => randomStream(0, 'x').below(0)).toThrow('n must be an integer from 1 to 4294967296, got 0');
    expect(() => randomStream(0, 'x').at(-1)).toThrow(expect.objectContaining({ code: 'RANDOM_OPTION' }));
  });
});

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
