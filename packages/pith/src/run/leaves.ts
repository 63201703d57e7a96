// Reads stored bytes leaf by leaf on the threads of the kernel pool: hashed, and copied where asked. Leaves of many
// tensors share a fixed set of buffers, so that memory does not grow with what is read.
import { mapLimited, throwIfStopped, type FileLocation } from '@pith/tensor-core';
import type { JobStep, KernelPool, MemoryRegion } from '@pith/tensor-core/node';
import { leafSpans, treeHash } from './hash-tree.ts';

/** Leaf size of tensors that are copied as they are, and of source tensors. */
export const LEAF_BYTES = 4 * 1024 * 1024;

/** A run of stored bytes with its leaves. */
export interface LeafJob {
  readonly from: FileLocation;
  readonly byteLength: number;
  readonly leafBytes: number;
  /** Copies the bytes to an existing file. */
  readonly to?: FileLocation;
}

/** How {@link runLeaves} runs. */
export interface LeafOptions {
  readonly signal?: AbortSignal;
  /** Called with the bytes of each finished leaf. */
  readonly onBytes?: (bytes: number) => void;
}

/** Hashes (and copies) runs of bytes; returns the digests of each run's leaves. */
export async function runLeaves(
  pool: KernelPool,
  jobs: readonly LeafJob[],
  options: LeafOptions = {},
): Promise<string[][]> {
  const digests: string[][] = jobs.map(() => []);
  const leaves = jobs.flatMap((job, index) =>
    leafSpans(job.byteLength, job.leafBytes).map((span, leaf) => ({ job, index, leaf, span })),
  );
  const largest = leaves.reduce((most, { span }) => Math.max(most, span.length), 0);
  // One more buffer than threads: a thread that has finished finds its next leaf waiting.
  const buffers: MemoryRegion[] = [];
  const limit = Math.max(1, pool.threads) + 1;
  try {
    await mapLimited(leaves, limit, async ({ job, index, leaf, span }) => {
      throwIfStopped(options.signal, job.to === undefined ? 'hash' : 'copy');
      const buffer = buffers.pop() ?? pool.allocate(largest);
      try {
        const { at } = buffer;
        const { length } = span;
        const steps: JobStep[] = [
          { op: 'read', path: job.from.path, offset: job.from.offset + span.offset, length, at },
          { op: 'sha256', at, length },
        ];
        if (job.to !== undefined) {
          steps.push({ op: 'write', path: job.to.path, offset: job.to.offset + span.offset, length, at });
        }
        const results = await pool.run(steps, {
          bytes: length,
          ...(options.signal === undefined ? {} : { signal: options.signal }),
        });
        digests[index]![leaf] = String(results[1]);
        options.onBytes?.(length);
      } finally {
        buffers.push(buffer);
      }
    });
  } finally {
    for (const buffer of buffers) pool.free(buffer);
  }
  return digests;
}

/** Tree hashes of runs of bytes. */
export async function hashLeaves(
  pool: KernelPool,
  jobs: readonly LeafJob[],
  options: LeafOptions = {},
): Promise<string[]> {
  return (await runLeaves(pool, jobs, options)).map(treeHash);
}
