// Ctrl-C and SIGTERM. The first is handled, so that the command can stop in order. The second is left to the system, which
// ends the process at once: a handler would have to wait for a computation that keeps the event loop busy.
import type { EventEmitter } from 'node:events';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Calls `interrupt` at the first Ctrl-C or SIGTERM; returns how to stop listening. */
export function onFirstInterrupt(process: EventEmitter, interrupt: () => void): () => void {
  const ignore = (): void => SIGNALS.forEach((signal) => process.off(signal, listener));
  const listener = (): void => {
    ignore();
    interrupt();
  };
  SIGNALS.forEach((signal) => process.on(signal, listener));
  return ignore;
}
