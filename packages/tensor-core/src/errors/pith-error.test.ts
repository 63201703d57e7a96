import { describe, expect, it } from 'vitest';
import { PithError, isPithError, throwIfStopped } from './pith-error.ts';

describe('PithError', () => {
  it('carries code, kind, facts and cause', () => {
    const cause = new RangeError('deep');
    const error = new PithError('X_BAD', 'x: must be good, got bad', { kind: 'internal', details: { x: 1 }, cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'PithError', code: 'X_BAD', kind: 'internal', details: { x: 1 }, cause });
    expect(String(error)).toBe('PithError: x: must be good, got bad');
    expect(error.stack).toContain('pith-error.test');
  });

  it('is the fault of the input, without cause, unless said otherwise; its facts are its own', () => {
    const details = { list: [1] };
    const error = new PithError('X', 'x', { details });
    expect([error.kind, 'cause' in error]).toEqual(['input', false]);
    expect(Object.isFrozen(error.details)).toBe(true);
    expect(error.details).not.toBe(details);
    expect(new PithError('X', 'x').details).toEqual({});
  });

  it('is recognised across copies of the package, and nothing else is', () => {
    const foreign = Object.defineProperty(new Error('other copy'), Symbol.for('pith.error'), { value: true });
    expect(isPithError(foreign)).toBe(true);
    expect(isPithError(new PithError('X', 'x'))).toBe(true);
    for (const other of [new Error('x'), { name: 'PithError', code: 'X' }, 'x', null, undefined]) {
      expect(isPithError(other)).toBe(false);
    }
    expect(JSON.stringify({ ...new PithError('X', 'x') })).toBe(
      '{"code":"X","kind":"input","details":{},"name":"PithError"}',
    );
  });
});

describe('throwIfStopped', () => {
  it('throws once the signal is aborted', () => {
    const stop = new AbortController();
    expect(() => throwIfStopped(undefined, 'x')).not.toThrow();
    expect(() => throwIfStopped(stop.signal, 'x')).not.toThrow();
    stop.abort('Ctrl-C');
    expect(() => throwIfStopped(stop.signal, 'quantize')).toThrow(
      expect.objectContaining({
        code: 'STOPPED',
        kind: 'stopped',
        cause: 'Ctrl-C',
        message: 'quantize: stopped before it was done; run the same command again to resume',
      }),
    );
  });
});
