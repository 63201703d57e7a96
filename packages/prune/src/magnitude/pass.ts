// Magnitude pruning of one linear, or of both factors of one.
import { factoredWeight } from '@pith/tensor-core';
import { pruneRecord, pruneScored, requireDense } from '../unstructured/prune-scored.ts';
import type { PruneTask, PrunedLinear } from '../unstructured/prune-pass.ts';

/** Prunes a linear by |w|. */
export async function pruneByMagnitude(task: PruneTask): Promise<PrunedLinear> {
  const { weight } = task;
  if (weight.kind === 'dense') {
    const { weight: pruned, result } = await pruneScored(weight, task);
    return { weight: pruned, record: pruneRecord(result), interventions: [] };
  }
  const left = await pruneScored(requireDense(weight.left, 'magnitude'), task);
  const right = await pruneScored(requireDense(weight.right, 'magnitude'), task);
  return {
    weight: factoredWeight({ name: weight.name, left: left.weight, right: right.weight }),
    record: { left: pruneRecord(left.result), right: pruneRecord(right.result) },
    interventions: [],
  };
}
