// Kernels on the calling thread over memory of their own. Memory that threads share cannot be lent to the runtime of a device:
// what goes to and fro between kernels and matrix products is copied each time. Where there are few threads, that costs more
// than they gain.
import { throwIfStopped } from '../errors/pith-error.ts';
import { STATIC_BYTES, compileKernels, createKernelMemory, instantiateKernels } from '../kernels/instance.ts';
import { PAGE_BYTES, type WasmMemory, type WasmModule } from '../kernels/web-assembly.ts';
import { FileCache } from './file-cache.js';
import type { JobStep, StepResult } from './kernel-job.ts';
import type { JobOptions, KernelPool } from './kernel-pool.ts';
import { MemoryRegion } from './memory-region.ts';
import { exhausted, failureError, notInUse, requireInteger, resultsOf } from './pool-results.ts';
import { RegionAllocator } from './region-allocator.ts';
import { closeFiles, runSteps } from './run-steps.js';

let compiled: WasmModule | undefined;

/** @internal A pool without threads over memory that no other thread sees, all of it set aside at once: arrays of regions stay valid. */
export class PrivatePool implements KernelPool {
  readonly threads = 0;
  readonly memoryBytes: number;
  readonly #memory: WasmMemory<ArrayBuffer>;
  readonly #allocator = new RegionAllocator(STATIC_BYTES);
  readonly #files = new FileCache();
  readonly #kernels: Readonly<Record<string, unknown>>;

  /** @throws PithError `KERNEL_MEMORY_UNAVAILABLE` */
  constructor(bytes: number) {
    const pages = Math.ceil(bytes / PAGE_BYTES) + STATIC_BYTES / PAGE_BYTES;
    this.memoryBytes = pages * PAGE_BYTES;
    this.#memory = createKernelMemory(false, this.memoryBytes);
    this.#memory.grow(pages - STATIC_BYTES / PAGE_BYTES);
    this.#allocator.extend(this.memoryBytes);
    compiled ??= compileKernels(false);
    this.#kernels = { ...instantiateKernels(compiled, this.#memory) };
  }

  allocate(bytes: number): MemoryRegion {
    requireInteger('bytes', bytes, 0, Number.MAX_SAFE_INTEGER);
    const at = this.#allocator.allocate(bytes);
    if (at === undefined) throw exhausted(bytes, this.#allocator.usedBytes, this.memoryBytes);
    return new MemoryRegion(this.#memory.buffer, at, bytes);
  }

  free(region: MemoryRegion): void {
    if (!this.#allocator.free(region.at)) throw notInUse(region);
  }

  run(steps: readonly JobStep[], { signal }: JobOptions = {}): Promise<StepResult[]> {
    try {
      throwIfStopped(signal, 'kernel pool');
      const host = { memory: this.#memory, kernels: this.#kernels, files: this.#files };
      const outcome = runSteps(host, steps, () => signal?.aborted === true);
      return Promise.resolve(resultsOf(outcome, signal));
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  near<T>(_bytes: number, work: (pool: KernelPool) => Promise<T>): Promise<T> {
    return work(this);
  }

  closeFiles(): Promise<void> {
    const failure = closeFiles(this.#files);
    return failure === undefined ? Promise.resolve() : Promise.reject(failureError(failure));
  }

  dispose(): Promise<void> {
    return this.closeFiles();
  }
}
