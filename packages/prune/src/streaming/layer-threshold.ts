// The score below which a whole weight is cut: two histograms over the bits of the scores give it exactly, and say how many
// weights of exactly this score each chunk loses.
import { runChunks, type Chunk, type ChunkPass } from '@pith/tensor-core';
import { factorArguments, factorLoading, type KernelSource } from './prune-into.ts';

/** Counters of `countKeys`. */
const BINS = 65536;

/** Where a chunk is cut. */
export interface ChunkThreshold {
  /** Bits of the score: what is below goes. */
  readonly key: number;
  /** Weights of exactly this score that go, from the first row on. */
  readonly ties: number;
}

/** The parts of a pass that are the same for every read of a weight. */
export type SharedPass = Pick<
  ChunkPass<'factors'>,
  'host' | 'weight' | 'chunks' | 'operation' | 'rowBytes' | 'refuse' | 'signal'
>;

/** Where each chunk is cut so that `goal` weights go in all. */
export async function layerThreshold(
  pass: SharedPass,
  source: KernelSource,
  goal: number,
): Promise<readonly ChunkThreshold[]> {
  const upper = await countAll(pass, source, -1);
  const [high, above] = nth(upper, goal);
  // A bf16 magnitude has no bits below the upper half of its key.
  const single = source.factors === undefined && source.dtype === 2;
  const lower = single ? upper : await countAll(pass, source, high);
  const [low, left] = single ? [high, above] : nth(lower, above);
  let ties = left;
  return lower.map((histogram) => {
    const here = Math.min(ties, histogram[low] ?? 0);
    ties -= here;
    return { key: high * BINS + (single ? 0 : low), ties: here };
  });
}

/** One histogram per chunk, see `countKeys`. */
async function countAll(pass: SharedPass, source: KernelSource, upper: number): Promise<Uint32Array[]> {
  const { dtype, columns } = source;
  const histograms: Uint32Array[] = [];
  await runChunks<'factors' | 'scratch' | 'histogram'>({
    ...pass,
    parts: {
      factors: source.factorBytes(pass.chunks[0]?.rows ?? 0),
      scratch: source.scratchBytes,
      histogram: 4 * BINS,
    },
    ...factorLoading(source),
    steps: (chunk: Chunk, at) => {
      const { address, stride } = factorArguments(source, at.factors);
      const args = [at.source, dtype, chunk.rows, columns, address, stride, 1, upper, at.histogram, at.scratch];
      return [{ op: 'call', kernel: 'countKeys', args, expect: -1 }];
    },
    finish: (chunk, _results, part) => {
      const { buffer, byteOffset } = part('histogram');
      histograms[chunk.index] = new Uint32Array(buffer, byteOffset, BINS).slice();
    },
  });
  return histograms;
}

/** The bin that the key with `rank` keys before it falls into, and its rank in there. */
function nth(histograms: readonly Uint32Array[], rank: number): [bin: number, left: number] {
  let left = rank;
  for (let bin = 0; bin < BINS; bin += 1) {
    let count = 0;
    for (const histogram of histograms) count += histogram[bin]!;
    if (left < count) return [bin, left];
    left -= count;
  }
  return [BINS, 0];
}
