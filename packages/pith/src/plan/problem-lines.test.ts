import { describe, expect, it } from 'vitest';
import { problemLines } from './problem-lines.ts';

const problem = (name: string, message: string) => ({ code: 'CODE', name, message });

describe('problemLines', () => {
  it('says once what holds for several tensors, with their names', () => {
    const lines = problemLines([
      problem('a.weight', 'quantize "a.weight": 48 columns are no multiple of 32'),
      problem('c.weight', 'quantize "c.weight": 80 columns are no multiple of 32'),
      problem('b.weight', 'quantize "b.weight": 48 columns are no multiple of 32'),
    ]);
    expect(lines).toEqual([
      'quantize "a.weight": 48 columns are no multiple of 32\n    the same of b.weight',
      'quantize "c.weight": 80 columns are no multiple of 32',
    ]);
  });

  it('knows a weight by the path of its module', () => {
    const lines = problemLines([
      problem('a.weight', 'the rank of a.weight must be at most 64; ignore "a"'),
      problem('b.weight', 'the rank of b.weight must be at most 64; ignore "b"'),
    ]);
    expect(lines).toEqual(['the rank of a.weight must be at most 64; ignore "a"\n    the same of b.weight']);
  });

  it('counts what it does not name', () => {
    const [line] = problemLines(Array.from({ length: 12 }, (_, i) => problem(`w${i}`, `store "w${i}": no`)));
    expect(line).toBe('store "w0": no\n    the same of w1, w2, w3, w4, w5, w6, w7, w8, and 3 more');
  });

  it('keeps problems of different codes apart', () => {
    expect(problemLines([problem('a', 'no'), { ...problem('b', 'no'), code: 'OTHER' }])).toEqual(['no', 'no']);
  });
});
