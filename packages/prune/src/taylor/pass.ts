// First-order Taylor pruning of one linear.
import { PithError } from '@pith/tensor-core';
import type { Intervention } from '@pith/model';
import { pruneRecord, pruneScored, requireDense } from '../unstructured/prune-scored.ts';
import type { PruneTask, PrunedLinear } from '../unstructured/prune-pass.ts';
import { rootMeanSquares } from './score.ts';

/** Prunes a linear by |w| times the root of the mean square of its gradients over windows. */
export async function pruneByTaylor(task: PruneTask): Promise<PrunedLinear> {
  const { linear, stage } = task;
  const weight = requireDense(task.weight, 'taylor');
  const squares = stage.gradients?.get(linear.name)?.squares;
  if (squares === undefined) {
    throw new PithError('STATISTIC_MISSING', `prune ${linear.name}: taylor needs squared gradients, got none`, {
      kind: 'internal',
      details: { tensor: linear.name },
    });
  }
  const values = rootMeanSquares(squares);
  const nothing = values.every((value) => value === 0);
  const { weight: pruned, result } = await pruneScored(weight, task, nothing ? undefined : { per: 'weight', values });
  const interventions: Intervention[] = [];
  if (nothing) {
    interventions.push({
      code: 'GRADIENT_ALL_ZERO',
      where: linear.path,
      message: 'the loss does not depend on this layer: its weights were compared by magnitude',
      details: { weights: values.length },
    });
  }
  return { weight: pruned, record: pruneRecord(result), interventions };
}
