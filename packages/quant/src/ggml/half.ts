import { toF32 } from '@pith/tensor-core';

/** The f16 at a byte offset. */
export function decodeHalf(bytes: Uint8Array, at: number): number {
  return toF32('f16', bytes.slice(at, at + 2))[0]!;
}
