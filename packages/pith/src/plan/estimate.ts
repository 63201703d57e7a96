// Estimates of memory and time. Memory is an upper bound that tests hold a run to; time is a rough guide from rates that
// were measured on one machine (docs/benchmarks.md).
import type { RangeRule } from '@pith/quant';

/** Resident memory of Node with this program loaded, before any work. */
const BASE_BYTES = 130e6;
/** Resident memory of one worker thread. */
const THREAD_BYTES = 15e6;
/** Weights in hand at a time, see `run-units.ts`. */
export const WEIGHTS_IN_HAND = 2;
/** Input bytes of a chunk. */
export const CHUNK_BYTES = 4 * 1024 * 1024;
/** Rows of the smallest chunk, and chunks of a weight for each thread: those of `@pith/quant`. */
const LEAST_ROWS = 32;
const CHUNKS_PER_THREAD = 2;
/** Input, output and scratch of a chunk, in units of its input. */
const BUFFERS_PER_CHUNK = 2;
/** Codes in bytes, scales, and their packed form: bytes of a value that is arranged in memory. */
const ENCODED_BYTES = 3;
/** Headers, plan, journal and receipt of one tensor. */
const TENSOR_BYTES = 16_384;

interface MemoryInput {
  readonly threads: number;
  /** Tensors of the source. */
  readonly tensors: readonly { readonly shape: readonly number[]; readonly byteLength: number }[];
  /** Values of the weights that are rounded in memory and arranged as a whole. */
  readonly encoded: readonly number[];
}

/** An upper estimate of the resident memory of a run, in bytes. It does not grow with the model, but for its headers. */
export function estimatePeakMemory({ threads, tensors, encoded }: MemoryInput): number {
  let chunk = 0;
  for (const { shape, byteLength } of tensors) {
    const rows = Math.max(1, shape[0] ?? 1);
    const least = (byteLength / rows) * Math.min(rows, LEAST_ROWS);
    chunk = Math.max(chunk, Math.min(byteLength, Math.max(CHUNK_BYTES, least)));
  }
  const buffers = WEIGHTS_IN_HAND * CHUNKS_PER_THREAD * threads * BUFFERS_PER_CHUNK * chunk;
  const largest = encoded.reduce((most, values) => Math.max(most, values), 0);
  const whole = WEIGHTS_IN_HAND * ENCODED_BYTES * largest;
  return Math.ceil(BASE_BYTES + threads * THREAD_BYTES + buffers + whole + TENSOR_BYTES * tensors.length);
}

/** Bytes a second that one thread reads, hashes and rounds. */
const READ_RATE = 0.55e9;
/** Bytes a second that are written, hashed and read back. */
const WRITE_RATE = 0.4e9;
/** Weights a second of one thread that a range search takes for each candidate. */
const SEARCH_RATE = 1.5e9;
/** Start of the program and its threads. */
const START_SECONDS = 0.4;

interface TimeInput {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly quantizedValues: number;
  readonly range: RangeRule;
  readonly threads: number;
}

/** A rough estimate of the wall time of a run in seconds. */
export function estimateSeconds({ bytesRead, bytesWritten, quantizedValues, range, threads }: TimeInput): number {
  const candidates =
    range.kind === 'mse' || range.kind === 'lp' ? range.candidates : range.kind === 'percentile' ? 10 : 0;
  const work = bytesRead / READ_RATE + bytesWritten / WRITE_RATE + (quantizedValues * candidates) / SEARCH_RATE;
  return START_SECONDS + work / threads;
}
