// Writes the weights of a finished recipe. Every byte is hashed on its way to the file, so that reading back shows
// whether the disk holds what was meant.
import { createHash, type Hash } from 'node:crypto';
import { storedChunks, type StoredWeightsOptions } from '@pith/checkpoint';
import type { CheckpointOutput } from '@pith/checkpoint/node';
import { PithError, throwIfStopped, type RunOptions, type WeightTensor } from '@pith/tensor-core';
import type { TensorLeaves } from '../run/journal.ts';
import { LEAF_BYTES } from '../run/leaves.ts';

/** Writes weights to an output whose layout has them; returns the leaves of every tensor in the order of the layout. */
export async function writeWeights(
  weights: readonly WeightTensor[],
  output: CheckpointOutput,
  options: StoredWeightsOptions,
  { signal, progress }: RunOptions,
): Promise<TensorLeaves[]> {
  const leaves = new Map<string, LeafHasher>();
  for (const [done, weight] of weights.entries()) {
    throwIfStopped(signal, 'write artefact');
    progress?.({ phase: 'write', item: weight.name, done, total: weights.length, unit: 'tensor' });
    for await (const { name, offset, bytes } of storedChunks(weight, options)) {
      const hasher = leaves.get(name) ?? new LeafHasher(name);
      leaves.set(name, hasher);
      hasher.add(offset, bytes);
      await output.write(name, offset, bytes);
    }
  }
  progress?.({ phase: 'write', done: weights.length, total: weights.length, unit: 'tensor' });
  return [...output.layout.places.values()].map(({ name, byteLength }) => {
    const hasher = leaves.get(name) ?? new LeafHasher(name);
    return { name, leafBytes: LEAF_BYTES, leaves: hasher.finish(byteLength) };
  });
}

/** Digests of leaves from chunks that come in order. */
class LeafHasher {
  readonly #name: string;
  readonly #leaves: string[] = [];
  #hash: Hash = createHash('sha256');
  #inLeaf = 0;
  #total = 0;

  constructor(name: string) {
    this.#name = name;
  }

  add(offset: number, bytes: Uint8Array): void {
    if (offset !== this.#total) throw this.#incomplete(offset);
    for (let at = 0; at < bytes.byteLength;) {
      const count = Math.min(bytes.byteLength - at, LEAF_BYTES - this.#inLeaf);
      this.#hash.update(bytes.subarray(at, at + count));
      at += count;
      this.#inLeaf += count;
      if (this.#inLeaf === LEAF_BYTES) this.#next();
    }
    this.#total += bytes.byteLength;
  }

  finish(byteLength: number): string[] {
    if (this.#total !== byteLength) throw this.#incomplete(byteLength);
    if (this.#inLeaf > 0) this.#next();
    return this.#leaves;
  }

  #next(): void {
    this.#leaves.push(this.#hash.digest('hex'));
    this.#hash = createHash('sha256');
    this.#inLeaf = 0;
  }

  #incomplete(at: number): PithError {
    return new PithError(
      'HASHES_INCOMPLETE',
      `write ${this.#name}: bytes must come in order, got ${this.#total} up to ${at}`,
      {
        kind: 'internal',
        details: { name: this.#name, written: this.#total, at },
      },
    );
  }
}
