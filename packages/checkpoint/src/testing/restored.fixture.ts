// What a weight restores to, held to values that a reference made.
import { createHash } from 'node:crypto';
import type { QuantizedWeight } from '@pith/tensor-core';
import { expect } from 'vitest';

/** SHA-256 of the bytes of values, as the manifests of the golden files have it. */
export const sha256OfF32 = (values: Float32Array): string =>
  createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');

/** Expects that all values have the hash, and that rows by themselves are those of all. The weight has 32 rows or more. */
export async function expectRestored(weight: QuantizedWeight, sha256: string): Promise<void> {
  const all = await weight.toF32();
  expect(sha256OfF32(all)).toBe(sha256);
  const columns = weight.shape[1]!;
  for (const [start, end] of [
    [0, 1],
    [5, 9],
    [31, 32],
    [3, 30],
  ] as const) {
    expect(await weight.toF32(start, end)).toEqual(all.slice(start * columns, end * columns));
  }
}
