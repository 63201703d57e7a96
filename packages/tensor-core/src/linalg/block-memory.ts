// Memory of a blocked factorization that a kernel copies blocks in: lines of a block are short, and an array method for each costs
// more than the values do. A device reads and writes it like any other array.
import type { HostArrays } from '../device/device.ts';
import type { KernelExports } from '../generated/kernels-wasm.ts';
import { STATIC_BYTES, compileKernels, createKernelMemory, instantiateKernels } from '../kernels/instance.ts';
import { PAGE_BYTES, type WasmMemory, type WasmModule } from '../kernels/web-assembly.ts';
import type { RealDType } from './products.ts';

/** Memory up to this size is kept for the next factorization: pages that were touched once are quick to use again. */
const KEPT_BYTES = 2 ** 26;

/** More than this is left to arrays of their own. */
const MOST_BYTES = 2 ** 31;

let compiled: WasmModule | undefined;
let kept: BlockMemory | undefined;

/** Arrays in one memory, and copies between them. */
export class BlockMemory {
  readonly #memory: WasmMemory<ArrayBuffer>;
  readonly #kernels: KernelExports;
  #next = STATIC_BYTES;

  /** @throws PithError `KERNEL_MEMORY_UNAVAILABLE` */
  constructor(bytes: number) {
    const pages = Math.ceil(bytes / PAGE_BYTES);
    this.#memory = createKernelMemory(false, STATIC_BYTES + pages * PAGE_BYTES);
    compiled ??= compileKernels(false);
    this.#kernels = instantiateKernels(compiled, this.#memory);
    this.#memory.grow(pages);
  }

  /** Bytes that are not taken. */
  get left(): number {
    return this.#memory.buffer.byteLength - this.#next;
  }

  /** An array of what the memory holds there. */
  take<D extends RealDType>(dtype: D, length: number): HostArrays[D] {
    const at = this.#next;
    const Values = dtype === 'f32' ? Float32Array : Float64Array;
    this.#next += Math.ceil((length * Values.BYTES_PER_ELEMENT) / 64) * 64;
    return new Values(this.#memory.buffer, at, length) as HostArrays[D];
  }

  /** True where both arrays lie in this memory and hold the same kind of values. */
  holds(a: HostArrays[RealDType], b: HostArrays[RealDType]): boolean {
    const { buffer } = this.#memory;
    return a.buffer === buffer && b.buffer === buffer && a.BYTES_PER_ELEMENT === b.BYTES_PER_ELEMENT;
  }

  /** Copies `count` lines of `length` values, so many values apart; places count from the arrays' first values. */
  copyLines(
    source: HostArrays[RealDType],
    from: number,
    fromPitch: number,
    target: HostArrays[RealDType],
    to: number,
    toPitch: number,
    length: number,
    count: number,
  ): void {
    const size = source.BYTES_PER_ELEMENT;
    const [a, b] = [source.byteOffset + from * size, target.byteOffset + to * size];
    this.#kernels.copyLines(a, fromPitch * size, b, toPitch * size, length * size, count);
  }

  /** Takes everything back. */
  clear(): void {
    this.#next = STATIC_BYTES;
  }
}

/**
 * Runs work with a memory of so many bytes (and some for each array), what is in it being left open; without one where that is
 * too much.
 */
export async function withBlockMemory<T>(
  bytes: number,
  work: (memory: BlockMemory | undefined) => Promise<T>,
): Promise<T> {
  const wanted = bytes + PAGE_BYTES;
  if (wanted > MOST_BYTES) return work(undefined);
  let own = kept;
  kept = undefined; // somebody else who comes now gets another one
  if (own === undefined || own.left < wanted) own = new BlockMemory(wanted);
  try {
    return await work(own);
  } finally {
    own.clear();
    if (own.left <= KEPT_BYTES) kept = own;
  }
}
