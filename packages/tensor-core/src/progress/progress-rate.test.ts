import { describe, expect, it } from 'vitest';
import type { ProgressEvent } from './progress.ts';
import { progressRate, RATE_HALF_LIFE_SECONDS, type ProgressRateState } from './progress-rate.ts';

const event = (done: number, changes: Partial<ProgressEvent> = {}): ProgressEvent => ({
  phase: 'quantize',
  done,
  total: 100,
  unit: 'tensor',
  ...changes,
});

function after(...seen: [seconds: number, event: ProgressEvent][]) {
  let state: ProgressRateState | undefined;
  for (const [seconds, one] of seen) state = progressRate(state, one, seconds);
  return state!.estimate;
}

describe('progressRate', () => {
  it('knows a share but no rate at first', () => {
    expect(after([5, event(20)])).toEqual({ fraction: 0.2, elapsedSeconds: 0, measure: 'units' });
  });

  it('finds a steady rate exactly, whatever the spacing of the events', () => {
    const estimate = after([0, event(0)], [1, event(2)], [4, event(8)], [4.5, event(9)], [10, event(20)]);
    expect(estimate.rate).toBeCloseTo(2, 12);
    expect(estimate.remainingSeconds).toBeCloseTo(40, 10);
    expect(estimate.elapsedSeconds).toBe(10);
  });

  it('does not count what a resumed run had done before', () => {
    expect(after([0, event(80)], [10, event(90)])).toMatchObject({ rate: 1, remainingSeconds: 10, fraction: 0.9 });
  });

  it('forgets: after a half-life at a new rate, that one weighs twice the old', () => {
    const half = RATE_HALF_LIFE_SECONDS;
    // 10 a second through one half-life, then 1 a second: (10 T / 2 + 1 T) / (T / 2 + T) = 4.
    const estimate = after(
      [0, event(0, { total: 10_000 })],
      [half, event(10 * half, { total: 10_000 })],
      [2 * half, event(11 * half, { total: 10_000 })],
    );
    expect(estimate.rate).toBeCloseTo(4, 12);
  });

  it('measures bytes where they are told', () => {
    const bytes = (done: number) => event(done, { bytesDone: done * 1000, bytesTotal: 4000 });
    expect(after([0, bytes(0)], [2, bytes(1)])).toMatchObject({
      measure: 'bytes',
      rate: 500,
      remainingSeconds: 6,
      fraction: 0.25,
    });
  });

  it('starts anew with a phase, and when work goes backwards', () => {
    expect(after([0, event(0)], [1, event(50)], [2, event(1, { phase: 'verify' })]).rate).toBeUndefined();
    expect(after([0, event(0)], [1, event(50)], [2, event(10)]).rate).toBeUndefined();
  });

  it('says nothing about the rest when time or work stands still, and never divides by 0', () => {
    expect(after([1, event(0)], [1, event(5)]).rate).toBeUndefined();
    const stalled = after([0, event(0)], [10, event(0)]);
    expect([stalled.rate, stalled.remainingSeconds]).toEqual([0, undefined]);
    expect(after([0, event(0, { total: 0 })])).toMatchObject({ fraction: 1 });
  });
});
