// What becomes of output that cannot be written. A reader that has seen enough (`pith inspect m | head`) must not end the
// work, and neither must a log on a full disk; but a result that went nowhere is a failure.
import type { EventEmitter } from 'node:events';
import type { TextStream } from './terminal.ts';

/** The standard streams of a process. */
export interface StandardStreams {
  readonly stdout: TextStream & EventEmitter;
  readonly stderr: TextStream & EventEmitter;
}

/**
 * Listens for errors of both streams.
 *
 * @param lost Called once, with what to tell people, when stdout could not be written.
 */
export function keepWorking({ stdout, stderr }: StandardStreams, lost: (message: string) => void): void {
  let told = false;
  stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (told || code === 'EPIPE') return;
    told = true;
    lost(`write result: stdout must be writable, it is not (${message}); send it elsewhere and run the command again`);
  });
  // Nobody is left to be told.
  stderr.on('error', () => undefined);
}
