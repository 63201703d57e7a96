import { describe, expect, it } from 'vitest';
import { cosineSchedule, wsdSchedule } from './schedule.ts';

describe('cosineSchedule', () => {
  const rate = cosineSchedule({ steps: 10, warmupSteps: 2, peak: 0.4, floor: 0.04 });

  it('has the values worked by hand', () => {
    // Warm-up: 0.4 * 1/2, 0.4 * 2/2. Then 0.04 + 0.18 (1 + cos(pi k / 8)) for k = step - 2.
    expect(rate(0)).toBeCloseTo(0.2, 12);
    expect(rate(1)).toBeCloseTo(0.4, 12);
    expect(rate(2)).toBeCloseTo(0.4, 12);
    expect(rate(4)).toBeCloseTo(0.04 + 0.18 * (1 + Math.SQRT1_2), 12);
    expect(rate(6)).toBeCloseTo(0.22, 12);
    expect(rate(8)).toBeCloseTo(0.04 + 0.18 * (1 - Math.SQRT1_2), 12);
    expect(rate(10)).toBeCloseTo(0.04, 12);
    expect(rate(1000)).toBeCloseTo(0.04, 12);
  });

  it('starts at the peak without a warm-up and ends at zero without a floor', () => {
    const plain = cosineSchedule({ steps: 4, warmupSteps: 0, peak: 1 });
    expect([0, 1, 2, 3, 4].map(plain)).toEqual([
      1,
      expect.closeTo(0.853553390593, 9),
      0.5,
      expect.closeTo(0.146446609407, 9),
      0,
    ]);
  });

  it('names every option that is out of range', () => {
    expect(() => cosineSchedule({ steps: 0, warmupSteps: -1, peak: Number.NaN, floor: 2 })).toThrow(
      /steps must .* got 0; warmupSteps .* got -1; peak .* got NaN; floor .* got 2/,
    );
    expect(() => cosineSchedule({ steps: 5, warmupSteps: 6, peak: 1 })).toThrow(/warmupSteps .* got 6/);
  });
});

describe('wsdSchedule', () => {
  it('rises, stays, and falls in a straight line that ends one step after the last', () => {
    const rate = wsdSchedule({ steps: 12, warmupSteps: 2, peak: 8, floor: 0, decaySteps: 3 });
    expect(Array.from({ length: 14 }, (_, step) => rate(step))).toEqual([4, 8, 8, 8, 8, 8, 8, 8, 8, 6, 4, 2, 0, 0]);
    const tenth = wsdSchedule({ steps: 30, warmupSteps: 0, peak: 1, floor: 0.5 });
    expect([26, 27, 28, 29, 30].map(tenth)).toEqual([1, 0.875, 0.75, 0.625, 0.5]);
  });

  it('names every option that is out of range', () => {
    expect(() => wsdSchedule({ steps: 10, warmupSteps: 5, peak: -1, decaySteps: 6 })).toThrow(
      /WSD schedule: peak .* got -1; .*decaySteps must be .* got 6/,
    );
  });
});
