// First-order Taylor pruning of one linear.
import { PithError } from '@pith/tensor-core';
import type { PruneTask, PrunedLinear } from '../unstructured/prune-pass.ts';

/** Prunes a linear by |w times its gradient|. */
export async function pruneByTaylor({ linear }: PruneTask): Promise<PrunedLinear> {
  throw new PithError('STATISTIC_MISSING', `prune ${linear.name}: taylor needs gradients, got none`, {
    kind: 'internal',
  });
}
