// Progress as people see it: one live line on a terminal, a plain line every few seconds otherwise.
import {
  progressRate,
  type ProgressEstimate,
  type ProgressEvent,
  type ProgressListener,
  type ProgressRateState,
} from '@pith/tensor-core';
import { formatBytes, formatSeconds, plural, significant } from '../format.ts';
import type { Terminal } from './terminal.ts';

/** Shows progress; `finish` leaves the terminal clean. */
export interface ProgressView {
  readonly listener: ProgressListener;
  finish(): void;
}

const LIVE_MS = 80;
const PLAIN_MS = 5000;
const BAR_WIDTH = 24;
/** Rates are not shown before: they jump about. */
const SETTLED_SECONDS = 0.5;

/** Work done so far, its rate, and how long the rest takes. */
export function describeProgress(event: ProgressEvent, estimate: ProgressEstimate): string {
  const inBytes = estimate.measure === 'bytes';
  // What a step of training is at is its loss; elsewhere it is a name, and the next one comes at once.
  const parts = event.unit === 'step' && event.item !== undefined ? [event.item] : [];
  if (event.unit !== 'byte') parts.push(`${event.done}/${plural(event.total, event.unit)}`);
  if (inBytes) parts.push(`${formatBytes(event.bytesDone ?? 0)} of ${formatBytes(event.bytesTotal!)}`);
  const { rate = 0, elapsedSeconds, remainingSeconds = 0 } = estimate;
  if (rate > 0 && elapsedSeconds >= SETTLED_SECONDS) {
    parts.push(inBytes ? `${formatBytes(Math.floor(rate))}/s` : `${significant(rate, 3)} ${event.unit}s/s`);
    if (remainingSeconds > 0) parts.push(`${formatSeconds(remainingSeconds)} left`);
  }
  return parts.join(', ');
}

function bar(fraction: number): string {
  const filled = Math.floor(fraction * BAR_WIDTH);
  return `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${String(Math.floor(fraction * 100)).padStart(3)}%`;
}

/** The line that fits: with a bar where there is room, else with its share alone, at last cut. */
function liveLine(phase: string, fraction: number, text: string, columns: number): string {
  const share = `${Math.floor(fraction * 100)}%`;
  const lines = [`${phase} ${bar(fraction)}  ${text}`, `${phase} ${share} ${text}`, `${share} ${text}`];
  return lines.find((line) => line.length < columns) ?? lines.at(-1)!.slice(0, Math.max(0, columns - 1));
}

/** A view on stderr. `log-update` is loaded by the caller, on a terminal only. */
export function createProgressView(
  terminal: Terminal,
  live: { (text: string): void; clear(): void } | undefined,
  now: () => number = () => performance.now(),
): ProgressView {
  let state: ProgressRateState | undefined;
  let shownAt = -Infinity;
  let shown = false;
  const listener: ProgressListener = (event) => {
    const time = now();
    if (event.phase !== state?.phase) shownAt = live === undefined ? time : -Infinity;
    state = progressRate(state, event, time / 1000);
    const { estimate } = state;
    const last = event.done >= event.total;
    if (time - shownAt < (live === undefined ? PLAIN_MS : LIVE_MS) && !(last && live !== undefined)) return;
    shownAt = time;
    const text = describeProgress(event, estimate);
    if (live === undefined) {
      terminal.stderr.write(`${event.phase}: ${text}\n`);
    } else {
      live(liveLine(event.phase, estimate.fraction, text, terminal.stderr.columns ?? 80));
      shown = true;
    }
  };
  return {
    listener,
    finish: () => {
      if (shown) live?.clear();
    },
  };
}
