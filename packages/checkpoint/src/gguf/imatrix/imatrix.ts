// What an importance matrix says, and the caps on what a file of one may claim. llama.cpp's tool `imatrix` measures it: for
// each column of a matrix the mean of the squares of what it is multiplied with.
import { PithError } from '@pith/tensor-core';

/** Statistics of the inputs of one tensor. */
export interface ImatrixEntry {
  /** Mean of the squared inputs, f32 for each column; for a stack of experts one expert after the other. None is negative. */
  readonly meanSquares: Float32Array;
  /** Experts that were counted by themselves: 1 for a matrix, and in the older form, which does not tell. */
  readonly experts: number;
}

/** Statistics of the inputs of a model. */
export interface Imatrix {
  /** Which of the two forms the file has. */
  readonly form: 'gguf' | 'legacy';
  /** By the name of the tensor in a GGUF file (`blk.0.attn_q.weight`), in the order of the file. */
  readonly entries: ReadonlyMap<string, ImatrixEntry>;
  /** Chunks of text that were measured; null where the file does not say. */
  readonly chunks: number | null;
}

/** Largest file: the statistics of a model with a trillion parameters in experts have a third of it. */
export const MAX_IMATRIX_BYTES = 2 ** 30;

/** Most tensors. */
export const MAX_IMATRIX_ENTRIES = 2 ** 18;

/** Longest name of a tensor or a text, in bytes. */
export const MAX_IMATRIX_NAME_BYTES = 65_535;

/** Most experts of a tensor. */
export const MAX_IMATRIX_EXPERTS = 2 ** 16;

/** An error about a file, behind which the ways to be bad are told apart by their codes. */
export function imatrixFault(
  file: string,
  code: string,
  why: string,
  details: Readonly<Record<string, unknown>> = {},
  cause?: unknown,
): PithError {
  return new PithError(
    `IMATRIX_${code}`,
    `read importance matrix: ${file}: ${why}; it is none or it is damaged: make it again with llama-imatrix`,
    { details: { file, ...details }, ...(cause !== undefined && { cause }) },
  );
}

/** Refuses names that are empty, too long or not printable. */
export function requireImatrixName(file: string, name: string): void {
  const bad = name === '' || name.length > MAX_IMATRIX_NAME_BYTES || /\p{Cc}/u.test(name);
  if (!bad) return;
  throw imatrixFault(
    file,
    'NAME_INVALID',
    `the name of a tensor must be 1 to ${MAX_IMATRIX_NAME_BYTES} characters without control characters, got ${JSON.stringify(name.slice(0, 80))}`,
    { tensor: name.slice(0, 80) },
  );
}

/** Refuses sums of squares that cannot be such: NaN, infinite or negative. */
export function requireSquares(file: string, tensor: string, values: Float32Array): void {
  const wrong = values.findIndex((value) => !(value >= 0 && value < Infinity));
  if (wrong < 0) return;
  throw imatrixFault(
    file,
    'VALUE_INVALID',
    `tensor ${tensor}: sums of squares must be numbers from 0 on, got ${values[wrong]} at ${wrong}`,
    { tensor, at: wrong },
  );
}
