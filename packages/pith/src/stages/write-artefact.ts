// Writes the weights of a finished recipe. Every byte is hashed on its way to the file, so that reading back shows
// whether the disk holds what was meant.
import { storedChunks, type StoredWeightsOptions } from '@pith/checkpoint';
import type { CheckpointOutput } from '@pith/checkpoint/node';
import { throwIfStopped, type RunOptions, type WeightTensor } from '@pith/tensor-core';
import type { TensorLeaves } from '../run/journal.ts';
import { LeafHasher } from '../run/leaf-hasher.ts';

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
    return hasher.finish(byteLength);
  });
}
