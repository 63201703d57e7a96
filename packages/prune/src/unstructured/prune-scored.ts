// What magnitude, Wanda and Taylor have in common: scores |w| * factor, in memory.
import { denseWeight, memoryBytes, PithError, type DenseWeight, type WeightTensor } from '@pith/tensor-core';
import { pruneInto, type PruneResult, type ScoreFactors } from '../streaming/prune-into.ts';
import type { PruneTask } from './prune-pass.ts';

/** Prunes a dense weight in memory; its dtype stays. */
export async function pruneScored(
  weight: DenseWeight,
  { config, context }: PruneTask,
  factors?: ScoreFactors,
): Promise<{ weight: DenseWeight; result: PruneResult }> {
  const { pool, signal, progress } = context;
  const bytes = new Uint8Array(weight.byteLength);
  const result = await pruneInto(
    weight,
    { kind: 'memory', bytes },
    {
      host: pool,
      pattern: config.pattern,
      comparison: config.comparison ?? 'row',
      ...(factors && { factors }),
      ...(signal && { signal }),
      ...(progress && { progress }),
    },
  );
  const { name, shape } = weight;
  const dtype = weight.dtype as 'f32' | 'f16' | 'bf16';
  return { weight: denseWeight({ name, dtype, shape, source: memoryBytes(bytes) }), result };
}

/** The facts of a pruned weight for the receipt. */
export function pruneRecord({ count, pruned, zeros, lostScore }: PruneResult): Readonly<Record<string, unknown>> {
  return { pruned: pruned / count, sparsity: zeros / count, lostScore };
}

/** A dense weight, where a method scores no others. @throws PithError `REPRESENTATION_NOT_PRUNABLE` */
export function requireDense(weight: WeightTensor, method: string): DenseWeight {
  if (weight.kind === 'dense') return weight;
  throw new PithError(
    'REPRESENTATION_NOT_PRUNABLE',
    `prune ${weight.name}: ${method} scores dense weights, got one that is ${weight.kind}; prune before factorizing`,
    { details: { tensor: weight.name, representation: weight.kind } },
  );
}
