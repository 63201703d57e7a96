import { PithError } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { EXIT, reportFailure, UsageError } from './failure.ts';

describe('reportFailure', () => {
  it.each([
    ['input', EXIT.input],
    ['internal', EXIT.fault],
    ['stopped', EXIT.stopped],
  ] as const)('a fault of kind %s exits with %d', (kind, exitCode) => {
    const report = reportFailure(new PithError('X', 'x: why', { kind, details: { tensor: 'a' } }));
    expect(report).toEqual({ exitCode, failure: { code: 'X', message: 'x: why', details: { tensor: 'a' } } });
  });

  it('knows errors of the command line', () => {
    expect(reportFailure(new UsageError('OPTION_X', 'no')).exitCode).toBe(EXIT.input);
  });

  it('takes anything else for a fault of ours', () => {
    const report = reportFailure(new TypeError('undefined is not a function'));
    expect(report.exitCode).toBe(EXIT.fault);
    expect(report.failure.code).toBe('INTERNAL');
    expect(report.failure.details['stack']).toContain('TypeError');
    expect(reportFailure('text').failure.message).toBe('unexpected fault: text');
  });
});
