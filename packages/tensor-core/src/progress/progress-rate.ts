// How fast a long operation goes and how long the rest takes: a pure function of its events and of a clock.
import type { ProgressEvent } from './progress.ts';

/** Weight of the past halves every so many seconds. */
export const RATE_HALF_LIFE_SECONDS = 15;

/** What is known after an event. */
export interface ProgressEstimate {
  /** Share of the phase that is done, 0 to 1. */
  readonly fraction: number;
  /** Seconds since the first event of the phase. */
  readonly elapsedSeconds: number;
  /** Bytes a second where `measure` is `bytes`, units a second otherwise; absent until two moments are known. */
  readonly rate?: number;
  /** Seconds that the rest takes at this rate; absent while the rate is unknown or 0. */
  readonly remainingSeconds?: number;
  /** What the rate counts: bytes where the events tell them, else units. */
  readonly measure: 'bytes' | 'units';
}

/** What is remembered between events. Plain data; start with `undefined`. */
export interface ProgressRateState {
  /** Phase of the events so far. */
  readonly phase: string;
  /** When the first event of the phase was seen, in seconds. */
  readonly startedAt: number;
  /** When the last event was seen, in seconds. */
  readonly seenAt: number;
  /** Bytes or units that the last event told. */
  readonly done: number;
  /** Sum of the work so far, of which the past counts half after each {@link RATE_HALF_LIFE_SECONDS}. */
  readonly work: number;
  /** Sum of the seconds so far, weighted alike. */
  readonly seconds: number;
  /** What is known now. */
  readonly estimate: ProgressEstimate;
}

/**
 * The state after one more event, seen at `seconds` on a clock that does not go back.
 *
 * A new phase, or work that went backwards, starts anew. Work that was done before the first event (a resumed run)
 * counts for the fraction, not for the rate.
 *
 * @example state = progressRate(state, event, performance.now() / 1000); state.estimate.remainingSeconds
 */
export function progressRate(
  state: ProgressRateState | undefined,
  event: ProgressEvent,
  seconds: number,
): ProgressRateState {
  const inBytes = event.bytesTotal !== undefined && event.bytesTotal > 0;
  const measure = inBytes ? 'bytes' : 'units';
  const done = inBytes ? (event.bytesDone ?? 0) : event.done;
  const total = inBytes ? event.bytesTotal! : event.total;
  const fraction = total > 0 ? Math.min(1, done / total) : 1;
  const anew =
    state === undefined || state.phase !== event.phase || done < state.done || state.estimate.measure !== measure;
  if (anew) {
    const estimate = { fraction, elapsedSeconds: 0, measure } as const;
    return { phase: event.phase, startedAt: seconds, seenAt: seconds, done, work: 0, seconds: 0, estimate };
  }
  const passed = seconds - state.seenAt;
  const fade = 0.5 ** (passed / RATE_HALF_LIFE_SECONDS);
  const work = state.work * fade + (done - state.done);
  const past = state.seconds * fade + passed;
  const rate = past > 0 ? work / past : undefined;
  const estimate: ProgressEstimate = {
    fraction,
    elapsedSeconds: seconds - state.startedAt,
    measure,
    ...(rate !== undefined && { rate }),
    ...(rate !== undefined && rate > 0 && { remainingSeconds: Math.max(0, total - done) / rate }),
  };
  return { ...state, seenAt: seconds, done, work, seconds: past, estimate };
}
