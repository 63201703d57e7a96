// Memory that the panel kernels work in: one WebAssembly memory per factorization, freed with it. The kernels want
// addresses, the code around them wants arrays; a region is both.
import type { KernelExports } from '../generated/kernels-wasm.ts';
import { STATIC_BYTES, compileKernels, createKernelMemory, instantiateKernels } from '../kernels/instance.ts';
import { PAGE_BYTES, type WasmMemory, type WasmModule } from '../kernels/web-assembly.ts';

/** Values of f64 at a fixed address. */
export interface F64Region {
  /** Address of the first value. */
  readonly at: number;
  readonly values: Float64Array<ArrayBuffer>;
}

let compiled: WasmModule | undefined;

/** The kernels over a memory that is laid out once. */
export class Workspace {
  readonly kernels: KernelExports;
  readonly #memory: WasmMemory<ArrayBuffer>;
  #next = STATIC_BYTES;

  /**
   * `lengths` are the lengths of the regions to come, in values. @throws PithError `KERNEL_MEMORY_UNAVAILABLE` when they
   * are more than the address space (4 GiB) holds.
   */
  constructor(lengths: readonly number[]) {
    const bytes = lengths.reduce((sum, length) => sum + align(length * 8), STATIC_BYTES);
    this.#memory = createKernelMemory(false, bytes);
    compiled ??= compileKernels(false);
    this.kernels = instantiateKernels(compiled, this.#memory);
    this.#memory.grow(Math.ceil((bytes - STATIC_BYTES) / PAGE_BYTES));
  }

  /** The next region, zeroed. Regions are taken in the order of the constructor's lengths. */
  take(length: number): F64Region {
    const at = this.#next;
    this.#next += align(length * 8);
    return { at, values: new Float64Array(this.#memory.buffer, at, length) };
  }
}

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;
