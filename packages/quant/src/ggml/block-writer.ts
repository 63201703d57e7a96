import { fromF32 } from '@pith/tensor-core';

/** One row of a matrix and what it is coded with. */
export interface RowContext {
  /** Mean square of the row: sum of squares in f32 over its length. */
  readonly meanSquare: number;
}

/**
 * Codes one block.
 *
 * @param x f32 values of the block.
 * @param bytes receives the block; zeros before.
 * @param importance f32, one for each value; absent where all count alike.
 */
export type BlockWriter = (
  x: Float32Array,
  bytes: Uint8Array,
  importance: Float32Array | undefined,
  row: RowContext,
) => void;

const scratch = new Float32Array(1);

/** Writes a number as f16, half to even, and returns it as it was stored. */
export function writeHalf(bytes: Uint8Array, at: number, value: number): void {
  scratch[0] = value;
  bytes.set(fromF32('f16', scratch), at);
}
