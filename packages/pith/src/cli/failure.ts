// How a failure leaves the process: an exit status and one JSON object. PithErrors are known by their brand, so that
// this file loads nothing of tensor-core.

/** Exit statuses of the command line. */
export const EXIT = { done: 0, fault: 1, input: 2, stopped: 3 } as const;

/** A failure in the shape that `--json` prints under `error`. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** A failure and the exit status that goes with it. */
export interface FailureReport {
  readonly failure: Failure;
  readonly exitCode: number;
}

interface Branded {
  readonly code: string;
  readonly message: string;
  readonly kind: 'input' | 'internal' | 'stopped';
  readonly details: Readonly<Record<string, unknown>>;
}

const BRAND = Symbol.for('pith.error');

/** An option, argument or command that cannot be used as it was typed. */
export class UsageError extends Error {
  readonly code: string;
  readonly kind = 'input';
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.name = 'UsageError';
    this.code = code;
    this.details = details;
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** What to print and which status to exit with for anything thrown. */
export function reportFailure(error: unknown): FailureReport {
  if (typeof error === 'object' && error !== null && BRAND in error) {
    const known = error as unknown as Branded;
    const exitCode = known.kind === 'input' ? EXIT.input : known.kind === 'stopped' ? EXIT.stopped : EXIT.fault;
    return { failure: { code: known.code, message: known.message, details: known.details }, exitCode };
  }
  const message = error instanceof Error ? error.message : String(error);
  const stack = error instanceof Error ? error.stack : undefined;
  return {
    failure: {
      code: 'INTERNAL',
      message: `unexpected fault: ${message}`,
      details: stack === undefined ? {} : { stack },
    },
    exitCode: EXIT.fault,
  };
}
