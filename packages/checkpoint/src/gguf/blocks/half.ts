// Half-precision numbers inside blocks.
import { toF32 } from '@pith/tensor-core';

let table: Float32Array | undefined;

/** The f16 at a byte offset, exactly. */
export function halfAt(bytes: Uint8Array, at: number): number {
  table ??= toF32('f16', new Uint8Array(Uint16Array.from({ length: 65_536 }, (_, bits) => bits).buffer));
  return table[bytes[at]! | (bytes[at + 1]! << 8)]!;
}
