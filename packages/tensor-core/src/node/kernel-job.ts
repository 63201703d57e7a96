// What the kernel pool can be asked to do, and the messages between the pool and its workers. Everything here is plain
// data: posting it copies a few numbers and strings. The bytes that jobs work on lie in the shared memory and are never
// posted.
import type { KernelExports } from '../generated/kernels-wasm.ts';

/** The name of a kernel. */
export type KernelName = keyof KernelExports;

/** Reads `length` bytes of the file from `offset` into memory at address `at`. Result: bytes read. */
export interface ReadStep {
  /** Tells the union apart. */
  readonly op: 'read';
  /** Path of the file. */
  readonly path: string;
  /** First byte in the file. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** Address of the first byte in memory. */
  readonly at: number;
}

/** Writes `length` bytes from memory at address `at` to the file at `offset`; the file must exist. Result: bytes written. */
export interface WriteStep {
  /** Tells the union apart. */
  readonly op: 'write';
  /** Path of the file. */
  readonly path: string;
  /** First byte in the file. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** Address of the first byte in memory. */
  readonly at: number;
}

/** Calls a kernel. Result: what it returns, 0 where it returns nothing. */
export interface CallStep {
  /** Tells the union apart. */
  readonly op: 'call';
  /** Name of the kernel. */
  readonly kernel: KernelName;
  /** Its arguments, in order. */
  readonly args: readonly number[];
  /** Ends the job with `KERNEL_RESULT` (details: `result`) when the kernel returns anything else. */
  readonly expect?: number;
}

/** SHA-256 of `length` bytes of memory from address `at`. Result: 64 hexadecimal digits. */
export interface Sha256Step {
  /** Tells the union apart. */
  readonly op: 'sha256';
  /** Address of the first byte in memory. */
  readonly at: number;
  /** Bytes. */
  readonly length: number;
}

/** One step of a job. */
export type JobStep = ReadStep | WriteStep | CallStep | Sha256Step;

/** The result of one step. */
export type StepResult = number | string;

/** Why a job failed, in a form that can be posted. */
export interface JobFailure {
  readonly code: string;
  readonly message: string;
  readonly kind: 'input' | 'internal';
  readonly details: Readonly<Record<string, unknown>>;
}

/** How a job ended. */
export type JobOutcome =
  | { readonly kind: 'done'; readonly results: readonly StepResult[] }
  | { readonly kind: 'failed'; readonly failure: JobFailure }
  | { readonly kind: 'stopped' };

/** From the pool to a worker. Steps before `first` are done. */
export type ToWorker =
  | { readonly kind: 'run'; readonly id: number; readonly steps: readonly JobStep[]; readonly first: number }
  | { readonly kind: 'close-files'; readonly id: number };

/** From a worker to the pool. */
export type FromWorker =
  | { readonly kind: 'ended'; readonly id: number; readonly outcome: JobOutcome }
  | { readonly kind: 'files-closed'; readonly id: number; readonly failure?: JobFailure };

/** What a worker is started with. `stop` holds the id of the job that it should leave off, shared. */
export interface WorkerSetup {
  readonly memory: unknown;
  readonly module: unknown;
  readonly stop: Int32Array;
}
