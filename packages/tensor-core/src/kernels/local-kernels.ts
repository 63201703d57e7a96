// Kernels on the calling thread, over a small memory of their own: the serial path, and what a browser has. Arrays
// outside that memory are worked on piece by piece: copied in, converted, copied out, all within the processor's cache.
import { PithError } from '../errors/pith-error.ts';
import type { KernelExports } from '../generated/kernels-wasm.ts';
import { STATIC_BYTES, compileKernels, createKernelMemory, instantiateKernels } from './instance.ts';
import type { WasmMemory } from './web-assembly.ts';

/** Bytes of scratch memory behind the static data. */
export const SCRATCH_BYTES = 512 * 1024;

/** The kernels of this thread. */
export interface LocalKernels {
  readonly kernels: KernelExports;
  /** Address of {@link SCRATCH_BYTES} bytes of scratch. What a call leaves there is gone with the next. */
  readonly scratch: number;
  /** The whole memory. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

let local: LocalKernels | undefined;

/** The kernels of this thread, compiled when first asked for. */
export function localKernels(): LocalKernels {
  local ??= createLocalKernels();
  return local;
}

function createLocalKernels(): LocalKernels {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) {
    throw new PithError('HOST_BIG_ENDIAN', 'kernels: a little-endian processor is needed, this one is big-endian');
  }
  const memory: WasmMemory<ArrayBuffer> = createKernelMemory(false, STATIC_BYTES + SCRATCH_BYTES);
  const kernels = instantiateKernels(compileKernels(false), memory);
  memory.grow(SCRATCH_BYTES / 65536);
  return { kernels, scratch: STATIC_BYTES, bytes: new Uint8Array(memory.buffer) };
}

/** A kernel's work on one piece: `count` items from address `source` to address `target`. */
export type PieceKernel = (source: number, target: number, count: number) => void;

/**
 * Streams `count` items of `sourceSize` bytes through a kernel into items of `targetSize` bytes. `target` is
 * overwritten from its first byte on.
 */
export function streamThroughKernel(
  source: Uint8Array,
  sourceSize: number,
  target: Uint8Array,
  targetSize: number,
  count: number,
  kernel: (exports: KernelExports) => PieceKernel,
): void {
  const { kernels, scratch, bytes } = localKernels();
  const run = kernel(kernels);
  // Both halves of a piece start on a multiple of 64 bytes.
  const piece = Math.floor((SCRATCH_BYTES - 64) / (sourceSize + targetSize) / 64) * 64;
  const targetAt = scratch + piece * sourceSize;
  for (let done = 0; done < count; done += piece) {
    const items = Math.min(piece, count - done);
    bytes.set(source.subarray(done * sourceSize, (done + items) * sourceSize), scratch);
    run(scratch, targetAt, items);
    target.set(bytes.subarray(targetAt, targetAt + items * targetSize), done * targetSize);
  }
}
