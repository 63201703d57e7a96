import { describe, expect, it } from 'vitest';
import { chunkLeaves } from './chunk-leaves.ts';

const chunk = (offset: number, byteLength: number) => ({
  of: 'codes' as const,
  offset,
  byteLength,
  sha256: `${offset}+${byteLength}`,
});

describe('chunkLeaves', () => {
  it('takes chunks in any order; the last may be shorter', () => {
    expect(chunkLeaves('t', 25, [chunk(20, 5), chunk(0, 10), chunk(10, 10)])).toEqual({
      name: 't',
      leafBytes: 10,
      leaves: ['0+10', '10+10', '20+5'],
    });
    expect(chunkLeaves('t', 0, [])).toEqual({ name: 't', leafBytes: 1, leaves: [] });
  });

  it.each([
    ['a gap', [chunk(0, 10), chunk(11, 10)]],
    ['an overlap', [chunk(0, 10), chunk(9, 12)]],
    ['different lengths', [chunk(0, 10), chunk(10, 5), chunk(15, 6)]],
    ['a longer last one', [chunk(0, 10), chunk(10, 11)]],
    ['an end that is missing', [chunk(0, 10), chunk(10, 10)]],
    ['nothing', []],
  ])('are none with %s', (_, chunks) => {
    expect(chunkLeaves('t', 21, chunks)).toBeUndefined();
  });
});
