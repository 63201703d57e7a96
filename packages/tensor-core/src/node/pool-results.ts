// What pools of kernels have in common: outcomes of jobs as results or errors, and what is refused.
import { PithError, throwIfStopped } from '../errors/pith-error.ts';
import type { JobFailure, JobOutcome, StepResult } from './kernel-job.ts';
import type { MemoryRegion } from './memory-region.ts';

/** The results of a job. @throws PithError as the job failed, `STOPPED` */
export function resultsOf(outcome: JobOutcome, signal: AbortSignal | undefined): StepResult[] {
  if (outcome.kind === 'done') return [...outcome.results];
  if (outcome.kind === 'failed') throw failureError(outcome.failure);
  throwIfStopped(signal, 'kernel pool');
  throw new PithError('STOPPED', 'kernel pool: stopped before it was done', { kind: 'stopped' });
}

/** A failure that was posted, as an error. */
export function failureError({ code, message, kind, details }: JobFailure): PithError {
  return new PithError(code, message, { kind, details });
}

/** No room for a region. */
export function exhausted(bytes: number, usedBytes: number, maxBytes: number, cause?: unknown): PithError {
  return new PithError(
    'KERNEL_MEMORY_EXHAUSTED',
    `kernel pool: ${bytes} bytes do not fit, ${usedBytes} of at most ${maxBytes} are in use; ` +
      'allow more memory, or work in smaller pieces',
    { details: { bytes, usedBytes, maxBytes }, cause },
  );
}

/** A region was freed that nobody has. */
export function notInUse({ at }: MemoryRegion): PithError {
  const text = `kernel pool: the region at address ${at} is not in use; free a region once`;
  return new PithError('KERNEL_MEMORY_RANGE', text, { kind: 'internal', details: { at } });
}

/** The pool is no more. */
export function disposedError(): PithError {
  return new PithError('KERNEL_POOL_DISPOSED', 'kernel pool: it was disposed; make a new one', { kind: 'internal' });
}

/** @throws PithError `KERNEL_POOL_OPTION` */
export function requireInteger(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  const text = `kernel pool: ${name} must be an integer from ${min} to ${max}, got ${value}`;
  throw new PithError('KERNEL_POOL_OPTION', text, { details: { option: name, value, min, max } });
}
