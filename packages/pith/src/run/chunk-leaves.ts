// Hashes of chunks that were taken while bytes went by, as the leaves of a tensor's tree hash.
import type { ChunkHash } from '@pith/quant';
import type { TensorLeaves } from './journal.ts';

/**
 * The chunks as leaves: all of one length but the last, without gaps from the first byte to the last.
 *
 * @param name of the tensor.
 * @param byteLength of the whole tensor.
 * @param chunks in any order; those of one kind.
 * @returns undefined where chunks are no leaves: of different lengths, or not all that there are.
 */
export function chunkLeaves(name: string, byteLength: number, chunks: readonly ChunkHash[]): TensorLeaves | undefined {
  const ordered = [...chunks].sort((a, b) => a.offset - b.offset);
  const leafBytes = Math.max(1, ordered[0]?.byteLength ?? 1);
  let end = 0;
  for (const { offset, byteLength: length } of ordered) {
    const last = offset + length === byteLength;
    if (offset !== end || (!last && length !== leafBytes) || length > leafBytes) return undefined;
    end += length;
  }
  return end === byteLength ? { name, leafBytes, leaves: ordered.map(({ sha256 }) => sha256) } : undefined;
}
