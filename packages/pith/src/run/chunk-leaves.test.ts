import { describe, expect, it } from 'vitest';
import { chunkLeaves } from './chunk-leaves.ts';

const chunk = (offset: number, byteLength: number) => ({
  of: 'codes' as const,
  offset,
  byteLength,
  sha256: `at ${offset}`,
});

describe('chunkLeaves', () => {
  it('orders chunks; the last may be shorter', () => {
    expect(chunkLeaves('w', 10, [chunk(8, 2), chunk(0, 4), chunk(4, 4)])).toEqual({
      name: 'w',
      leafBytes: 4,
      leaves: ['at 0', 'at 4', 'at 8'],
    });
  });

  it.each([
    ['a gap', [chunk(0, 4), chunk(6, 4)]],
    ['an end that is missing', [chunk(0, 4), chunk(4, 4)]],
    ['a shorter chunk before the last', [chunk(0, 4), chunk(4, 2), chunk(6, 4)]],
    ['a last chunk that is longer', [chunk(0, 4), chunk(4, 6)]],
    ['a chunk twice', [chunk(0, 4), chunk(0, 4), chunk(4, 6)]],
  ])('makes no leaves of %s', (_what, chunks) => {
    expect(chunkLeaves('w', 10, chunks)).toBeUndefined();
  });

  it('has none for a tensor without bytes', () => {
    expect(chunkLeaves('w', 0, [])).toEqual({ name: 'w', leafBytes: 1, leaves: [] });
  });
});
