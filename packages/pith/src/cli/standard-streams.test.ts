import { EventEmitter } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { onFirstInterrupt } from './interrupts.ts';
import { keepWorking } from './standard-streams.ts';

const stream = () => Object.assign(new EventEmitter(), { write: () => true });
const fault = (code: string) => Object.assign(new Error(`${code}: no luck`), { code });

describe('keepWorking', () => {
  it('says once that the result is lost', () => {
    const [stdout, lost] = [stream(), vi.fn()];
    keepWorking({ stdout, stderr: stream() }, lost);
    stdout.emit('error', fault('ENOSPC'));
    stdout.emit('error', fault('ERR_STREAM_DESTROYED'));
    expect(lost.mock.calls).toEqual([
      [expect.stringMatching(/stdout must be writable, it is not \(ENOSPC: no luck\)/)],
    ]);
  });

  it('does not mind a reader that leaves, nor what happens to stderr', () => {
    const [stdout, stderr, lost] = [stream(), stream(), vi.fn()];
    keepWorking({ stdout, stderr }, lost);
    stdout.emit('error', fault('EPIPE'));
    stderr.emit('error', fault('ENOSPC'));
    expect(lost).not.toHaveBeenCalled();
  });
});

describe('onFirstInterrupt', () => {
  it.each(['SIGINT', 'SIGTERM'])('handles the first %s and leaves the second signal to the system', (signal) => {
    const [process, interrupt] = [new EventEmitter(), vi.fn()];
    onFirstInterrupt(process, interrupt);
    process.emit(signal);
    expect(interrupt).toHaveBeenCalledOnce();
    expect([process.listenerCount('SIGINT'), process.listenerCount('SIGTERM')]).toEqual([0, 0]);
  });

  it('stops listening', () => {
    const [process, interrupt] = [new EventEmitter(), vi.fn()];
    onFirstInterrupt(process, interrupt)();
    process.emit('SIGINT');
    expect(interrupt).not.toHaveBeenCalled();
  });
});
