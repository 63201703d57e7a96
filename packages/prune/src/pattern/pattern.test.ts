import { randomStream } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { magnitudeScore } from '../magnitude/score.ts';
import { rootMeanSquares, taylorScore } from '../taylor/score.ts';
import { columnNorms, wandaScore } from '../wanda/score.ts';
import { apply, mask } from './mask.ts';
import { formatPattern, parsePattern, prunedCount, sparsityOf } from './pattern.ts';

describe('patterns', () => {
  it('say what stays of each run', () => {
    expect(parsePattern('2:4')).toEqual({ kind: 'n:m', kept: 2, of: 4 });
    expect(sparsityOf(parsePattern('1:4'))).toBe(0.75);
    expect(formatPattern(parsePattern('4:8'))).toBe('4:8');
    expect(formatPattern({ kind: 'unstructured', sparsity: 0.55 })).toBe('55%');
  });

  it.each([
    ['5:4', /cannot keep more weights than a run has/],
    ['0:4', /at least one weight/],
    ['2:128', /at most 64 columns/],
    ['2/4', /two numbers with a colon/],
    ['-2:4', /two numbers/],
    ['', /two numbers/],
  ])('refuses %j', (text, says) => {
    expect(() => parsePattern(text)).toThrow(expect.objectContaining({ code: 'PATTERN_INVALID' }));
    expect(() => parsePattern(text)).toThrow(says);
  });

  it('round counts down, but not because of binary fractions', () => {
    for (const [count, sparsity, expected] of [
      [100, 0.29, 29], // 28.999999999999996 in binary
      [10, 0.7, 7],
      [64, 0.7, 44],
      [172, 0.7, 120],
      [5, 0, 0],
      [3, 0.999, 2],
    ] as const) {
      expect(prunedCount(count, sparsity), `${count} * ${sparsity}`).toBe(expected);
    }
  });
});

describe('scores and masks, by hand', () => {
  const weights = Float32Array.of(3, -1, 2, -4, 1, 1, -1, 0.5);

  it('magnitude by layer and by row', () => {
    const scores = magnitudeScore(weights);
    const half = { kind: 'unstructured', sparsity: 0.5 } as const;
    // 0.5 goes, and of the four ones the first three.
    expect([...mask(scores, 4, { pattern: half, comparison: 'layer' })]).toEqual([1, 0, 1, 1, 0, 0, 1, 0]);
    expect([...mask(scores, 4, { pattern: half, comparison: 'row' })]).toEqual([1, 0, 0, 1, 0, 1, 1, 0]);
  });

  it('n:m keeps the largest of each run, the later of equals', () => {
    const kept = mask(magnitudeScore(weights), 8, { pattern: parsePattern('1:2'), comparison: 'row' });
    expect([...kept]).toEqual([1, 0, 0, 1, 0, 1, 1, 0]);
    expect([...apply(weights, kept)]).toEqual([3, 0, 0, -4, 0, 1, -1, 0]);
    expect([...mask(magnitudeScore(weights), 8, { pattern: parsePattern('4:4'), comparison: 'row' })]).toEqual(
      Array(8).fill(1),
    );
  });

  it('Wanda weighs by the norm of the input', () => {
    expect([...wandaScore(weights, Float32Array.of(1, 10, 0, 0.5))]).toEqual([3, 10, 0, 2, 1, 10, 0, 0.25]);
    // Norms 3 and 4, divided by 8.
    expect([...columnNorms(Float64Array.of(9, 16, 0))]).toEqual([3 / 8, 0.5, 0]);
    expect([...columnNorms(Float64Array.of(0, 0))]).toEqual([0, 0]);
  });

  it('Taylor weighs by the gradient', () => {
    const gradients = Float32Array.of(0, 1, -1, 2, 0, 3, 0, -4);
    expect([...taylorScore(weights, gradients)]).toEqual([0, 1, 2, 8, 0, 3, 0, 2]);
    expect([...rootMeanSquares(Float32Array.of(9, 0, 1))]).toEqual([0.75, 0, 0.25]);
  });

  it('lose exactly the count, ties or not', () => {
    const stream = randomStream(1, 'ties');
    const scores = Float32Array.from({ length: 13 * 20 }, () => stream.below(4));
    for (const sparsity of [0, 0.1, 0.5, 0.99]) {
      for (const comparison of ['row', 'layer'] as const) {
        const kept = mask(scores, 20, { pattern: { kind: 'unstructured', sparsity }, comparison });
        const goal = comparison === 'row' ? 13 * prunedCount(20, sparsity) : prunedCount(260, sparsity);
        expect(kept.reduce((sum, bit) => sum - bit, 260)).toBe(goal);
      }
    }
  });
});
