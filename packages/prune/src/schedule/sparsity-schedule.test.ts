import { describe, expect, it } from 'vitest';
import { cubicSparsity, roundShares } from './sparsity-schedule.ts';

describe('cubicSparsity', () => {
  it('goes from the initial to the final sparsity, most of it early', () => {
    const at = cubicSparsity({ initial: 0.1, final: 0.9, duration: 8 });
    expect([at(8), at(100)]).toEqual([0.9, 0.9]);
    for (const time of [-1, 0]) expect(at(time)).toBeCloseTo(0.1, 15);
    expect(at(4)).toBeCloseTo(0.9 - 0.8 / 8, 15); // (1 - 1/2)^3
    expect(at(6)).toBeCloseTo(0.9 - 0.8 / 64, 15);
  });

  it('refuses what is no schedule, all of it at once', () => {
    expect(() => cubicSparsity({ initial: -0.5, final: 1, duration: 0 })).toThrow(
      /initial must be in .*final must be in .*duration must be above 0/,
    );
    expect(() => cubicSparsity({ initial: 0.5, final: 0.25, duration: 1 })).toThrow(/at most final/);
    expect(() => cubicSparsity({ initial: NaN, final: 0.25, duration: NaN })).toThrow(
      expect.objectContaining({ code: 'SPARSITY_SCHEDULE_INVALID' }),
    );
  });
});

describe('roundShares', () => {
  it('ends at the target exactly', () => {
    expect(roundShares(4, 'linear')).toEqual([0.25, 0.5, 0.75, 1]);
    expect(roundShares(2, 'cubic')).toEqual([0.875, 1]);
    expect(roundShares(1, 'cubic')).toEqual([1]);
  });
});
