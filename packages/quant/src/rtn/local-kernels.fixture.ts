// The kernels over a memory of this thread, for tests: allocates and never frees.
import { compileKernels, createKernelMemory, instantiateKernels, STATIC_BYTES } from '@pith/tensor-core';

const memory = createKernelMemory(false, 64 * 2 ** 20);
/** The kernels. */
export const kernels = instantiateKernels(compileKernels(false), memory);
memory.grow(64 * 16 - 2);
let next = STATIC_BYTES;

/** Starts over: everything allocated before may be overwritten. */
export function reset(): void {
  next = STATIC_BYTES;
}

/** Room for bytes, filled with 0xa5; returns its address. */
export function allocate(bytes: number): number {
  const at = next;
  next = Math.ceil((next + bytes) / 64) * 64;
  new Uint8Array(memory.buffer, at, bytes).fill(0xa5);
  return at;
}

/** A copy of bytes in the memory; returns its address. */
export function place(bytes: ArrayBufferView): number {
  const at = allocate(bytes.byteLength);
  new Uint8Array(memory.buffer, at, bytes.byteLength).set(
    new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  );
  return at;
}

/** A copy of bytes out of the memory. */
export function bytesAt(at: number, length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(memory.buffer, at, length).slice();
}
