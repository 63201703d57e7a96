// What streaming work runs kernels on: the threads of a pool, or this thread alone.
import { isPithError, PithError, throwIfStopped } from '../errors/pith-error.ts';
import type { KernelExports } from '../generated/kernels-wasm.ts';
import { compileKernels, createKernelMemory, instantiateKernels, STATIC_BYTES } from '../kernels/instance.ts';
import type { WasmModule } from '../kernels/web-assembly.ts';
import type { JobStep, StepResult } from '../node/kernel-job.ts';
import type { JobOptions } from '../node/kernel-pool.ts';

/** Memory that kernels can reach. */
export interface KernelRegion {
  /** Address of the first byte. */
  readonly at: number;
  /** Bytes of the region. */
  readonly byteLength: number;
  /** The bytes, as they are now. */
  readonly u8: Uint8Array;
}

/** Something that runs kernels: a `KernelPool` is one. */
export interface KernelHost {
  /** Jobs that run at the same time. */
  readonly threads: number;
  /** True where jobs cannot read, write or hash, only call. */
  readonly callsOnly?: boolean;
  /** Sets memory aside; what it contains is undefined. */
  allocate(bytes: number): KernelRegion;
  /** Gives a region back. */
  free(region: KernelRegion): void;
  /** Runs the steps of a job in order; the results in order. */
  run(steps: readonly JobStep[], options?: JobOptions): Promise<StepResult[]>;
}

/** Most bytes of a {@link localHost}. */
const MAX_LOCAL_BYTES = 2 ** 30;

const PAGE_BYTES = 65536;

// Compiling takes longer than quantizing a small weight.
let compiled: WasmModule | undefined;

/**
 * Kernels on the calling thread, in any JavaScript environment. Knows `call` steps only. Memory is handed out one
 * region after the other and comes back when all regions are freed, which suits one weight at a time.
 */
export function localHost(): KernelHost {
  const memory = createKernelMemory(false, MAX_LOCAL_BYTES);
  compiled ??= compileKernels(false);
  const kernels: KernelExports = instantiateKernels(compiled, memory);
  let next = STATIC_BYTES;
  let used = 0;
  return {
    threads: 1,
    callsOnly: true,
    allocate(bytes) {
      const at = next;
      const end = Math.ceil((at + bytes) / 64) * 64;
      const pages = Math.ceil(end / PAGE_BYTES) - memory.buffer.byteLength / PAGE_BYTES;
      if (end > MAX_LOCAL_BYTES) {
        throw new PithError(
          'KERNEL_MEMORY_EXHAUSTED',
          `kernels on this thread: ${bytes} bytes do not fit into ${MAX_LOCAL_BYTES}; run on a kernel pool`,
          { details: { bytes, maxBytes: MAX_LOCAL_BYTES } },
        );
      }
      if (pages > 0) memory.grow(pages);
      next = end;
      used += 1;
      return {
        at,
        byteLength: bytes,
        get u8() {
          return new Uint8Array(memory.buffer, at, bytes);
        },
      };
    },
    free() {
      used -= 1;
      if (used === 0) next = STATIC_BYTES;
    },
    run(steps, { signal } = {}) {
      try {
        throwIfStopped(signal, 'kernels on this thread');
        return Promise.resolve(steps.map((step) => call(kernels, step)));
      } catch (error) {
        return Promise.reject(isPithError(error) ? error : new Error('a kernel failed', { cause: error }));
      }
    },
  };
}

function call(kernels: KernelExports, step: JobStep): number {
  if (step.op !== 'call') {
    throw new PithError('KERNEL_STEP', `kernels on this thread: steps must be calls, got ${step.op}`, {
      kind: 'internal',
    });
  }
  const kernel = kernels[step.kernel] as (...args: readonly number[]) => number | undefined;
  const result = kernel(...step.args) ?? 0;
  if (step.expect === undefined || result === step.expect) return result;
  throw new PithError('KERNEL_RESULT', `${step.kernel}: expected to return ${step.expect}, got ${result}`, {
    kind: 'internal',
    details: { result },
  });
}
