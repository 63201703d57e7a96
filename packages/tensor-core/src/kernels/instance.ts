// Makes the kernels callable over a memory.
import { PithError } from '../errors/pith-error.ts';
import { SHARED_KERNELS, UNSHARED_KERNELS, type KernelExports } from '../generated/kernels-wasm.ts';
import { PAGE_BYTES, wasm, type WasmMemory, type WasmModule } from './web-assembly.ts';

/** Bytes at the start of every memory that belong to the kernels' static data. */
export const STATIC_BYTES = PAGE_BYTES;

/** Compiles the build for a `shared` or an unshared memory. */
export function compileKernels(shared: boolean): WasmModule {
  const text = atob(shared ? SHARED_KERNELS : UNSHARED_KERNELS);
  return new wasm.Module(Uint8Array.from(text, (character) => character.charCodeAt(0)));
}

/** A memory for the kernels: bytes 0 to {@link STATIC_BYTES} are theirs. `maxBytes` is rounded up to a page. */
export function createKernelMemory(shared: true, maxBytes: number): WasmMemory<SharedArrayBuffer>;
export function createKernelMemory(shared: false, maxBytes: number): WasmMemory<ArrayBuffer>;
export function createKernelMemory(shared: boolean, maxBytes: number): WasmMemory {
  const maximum = Math.ceil(maxBytes / PAGE_BYTES);
  try {
    return new wasm.Memory({ initial: STATIC_BYTES / PAGE_BYTES, maximum, shared });
  } catch (cause) {
    throw new PithError(
      'KERNEL_MEMORY_UNAVAILABLE',
      `kernel memory: ${maxBytes} bytes of address space could not be reserved; allow less memory`,
      { details: { maxBytes }, cause },
    );
  }
}

/** Instantiates the compiled kernels over a memory of the same kind. */
export function instantiateKernels(module: WasmModule, memory: WasmMemory): KernelExports {
  const exports = new wasm.Instance(module, { env: { memory } }).exports as unknown as KernelExports;
  if (exports.staticEnd() > STATIC_BYTES) {
    throw new PithError('KERNEL_STATIC_DATA', `kernels: static data ends at ${exports.staticEnd()}, over 64 KiB`, {
      kind: 'internal',
    });
  }
  return exports;
}
