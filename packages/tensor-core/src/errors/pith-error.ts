// The one error type of all packages. It is recognised by a brand, not by `instanceof`, so that it works when two
// copies of this package are loaded.

const BRAND = Symbol.for('pith.error');

/** Whose fault it is: decides the exit status of the command line (1 internal, 2 input, 3 stopped). */
export type FaultKind = 'input' | 'internal' | 'stopped';

/** What a {@link PithError} carries beside its message. */
export interface PithErrorOptions {
  /** Whose fault it is; `input` when left out. */
  readonly kind?: FaultKind;
  /** The facts of the message as data: file, tensor, option, limits, values. JSON only. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/**
 * An error with a stable code and the facts behind its message.
 *
 * Messages read "operation: constraint, got value" and then what to do about it.
 */
export class PithError extends Error {
  /** Stable, in capitals: `SAFETENSORS_HEADER_TOO_LARGE`. */
  readonly code: string;
  /** Whose fault it is. */
  readonly kind: FaultKind;
  /** The facts of the message as data. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, options: PithErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PithError';
    this.code = code;
    this.kind = options.kind ?? 'input';
    this.details = Object.freeze({ ...options.details });
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** True for a {@link PithError} of this or of another loaded copy of the package. */
export function isPithError(value: unknown): value is PithError {
  return typeof value === 'object' && value !== null && BRAND in value;
}

/** Throws a `STOPPED` {@link PithError} once the signal is aborted. `operation` opens the message. */
export function throwIfStopped(signal: AbortSignal | undefined, operation: string): void {
  if (!signal?.aborted) return;
  throw new PithError('STOPPED', `${operation}: stopped before it was done; run the same command again to resume`, {
    kind: 'stopped',
    cause: signal.reason,
  });
}
