// Which weights of a block of columns go: those with the least (w * d)², d the diagonal of U. Chosen by the selection kernels
// on the block where it lies, in the pool's memory.
import type { PoolBlock } from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';

/** Counters of `countKeys`. */
const BINS = 65536;

/** Masks of blocks of one weight. */
export interface BlockSelection {
  /** Writes the block's mask: the `pruned` weights of least (w * diagonal)² go. The diagonal has the block's columns. */
  mask(block: PoolBlock, diagonal: Float32Array, pruned: number, signal?: AbortSignal): Promise<void>;
  /** Gives the memory back. */
  free(): void;
}

/** @throws PithError `KERNEL_MEMORY_EXHAUSTED` */
export function blockSelection(pool: KernelPool, rows: number, columns: number): BlockSelection {
  const factors = pool.allocate(4 * columns);
  const histogram = pool.allocate(4 * BINS);
  // As selectScratchBytes of the kernels for "rows" of this length: the block lies transposed.
  const scratch = pool.allocate(2 * (Math.ceil((4 * rows) / 64) * 64 + 64) + 2 * 2048 * 4);
  return {
    async mask(block, diagonal, pruned, signal) {
      const { weights, mask } = block.regions;
      const width = diagonal.length;
      // |w| d orders as its square does.
      factors.f32.set(diagonal);
      const shared = [weights.at, 0, width, rows, factors.at, 1, 0];
      const options = { bytes: 4 * width * rows, ...(signal && { signal }) };
      const count = async (upper: number): Promise<Uint32Array> => {
        const args = [...shared, upper, histogram.at, scratch.at];
        await pool.run([{ op: 'call', kernel: 'countKeys', args, expect: -1 }], options);
        return histogram.u32;
      };
      const [high, above] = nth(await count(-1), pruned);
      const [low, ties] = nth(await count(high), above);
      const args = [...shared, high * BINS + low, ties, mask.at, 0, scratch.at];
      await pool.run([{ op: 'call', kernel: 'pruneBelow', args, expect: pruned }], options);
    },
    free: () => [factors, histogram, scratch].forEach((region) => pool.free(region)),
  };
}

/** The bin that the key with `rank` keys before it falls into, and its rank in there. */
function nth(counts: Uint32Array, rank: number): [bin: number, left: number] {
  let left = rank;
  for (let bin = 0; bin < BINS; bin += 1) {
    if (left < counts[bin]!) return [bin, left];
    left -= counts[bin]!;
  }
  return [BINS, 0];
}
