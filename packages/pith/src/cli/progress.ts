// Progress as people see it: one live line on a terminal, a plain line every few seconds otherwise.
import type { ProgressEvent, ProgressListener } from '@pith/tensor-core';
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

/** Work done so far, and how long the rest takes at the rate of the phase so far. */
export function describeProgress(event: ProgressEvent, elapsedSeconds: number): string {
  const inBytes = event.bytesTotal !== undefined && event.bytesTotal > 0;
  const done = inBytes ? (event.bytesDone ?? 0) : event.done;
  const total = inBytes ? event.bytesTotal! : event.total;
  const rate = elapsedSeconds > 0 ? done / elapsedSeconds : 0;
  const parts = event.unit === 'byte' ? [] : [`${event.done}/${plural(event.total, event.unit)}`];
  if (inBytes) parts.push(`${formatBytes(done)} of ${formatBytes(total)}`);
  if (rate > 0 && elapsedSeconds >= 0.5) {
    parts.push(inBytes ? `${formatBytes(Math.floor(rate))}/s` : `${significant(rate, 3)} ${event.unit}s/s`);
    if (done < total) parts.push(`${formatSeconds((total - done) / rate)} left`);
  }
  return parts.join(', ');
}

function bar(event: ProgressEvent): string {
  const inBytes = event.bytesTotal !== undefined && event.bytesTotal > 0;
  const share = inBytes ? (event.bytesDone ?? 0) / event.bytesTotal! : event.total > 0 ? event.done / event.total : 0;
  const filled = Math.floor(Math.min(1, share) * BAR_WIDTH);
  return `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${String(Math.floor(share * 100)).padStart(3)}%`;
}

/** A view on stderr. `log-update` is loaded by the caller, on a terminal only. */
export function createProgressView(
  terminal: Terminal,
  live: { (text: string): void; clear(): void } | undefined,
  now: () => number = () => performance.now(),
): ProgressView {
  let phase: string | undefined;
  let startedAt = 0;
  let shownAt = -Infinity;
  let shown = false;
  const listener: ProgressListener = (event) => {
    const time = now();
    if (event.phase !== phase) {
      phase = event.phase;
      startedAt = time;
      shownAt = live === undefined ? time : -Infinity;
    }
    const last = event.done >= event.total;
    if (time - shownAt < (live === undefined ? PLAIN_MS : LIVE_MS) && !(last && live !== undefined)) return;
    shownAt = time;
    const text = describeProgress(event, (time - startedAt) / 1000);
    if (live === undefined) {
      terminal.stderr.write(`${event.phase}: ${text}\n`);
    } else {
      const line = `${event.phase} ${bar(event)}  ${text}`;
      const columns = terminal.stderr.columns ?? 80;
      live(line.length < columns ? line : line.slice(0, columns - 1));
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
