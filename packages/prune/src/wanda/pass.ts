// Wanda pruning of one linear.
import { PithError } from '@pith/tensor-core';
import type { Intervention } from '@pith/model';
import { pruneRecord, pruneScored, requireDense } from '../unstructured/prune-scored.ts';
import type { PruneTask, PrunedLinear } from '../unstructured/prune-pass.ts';
import { columnNorms } from './score.ts';

/** Prunes a linear by |w| times the norm of its input. */
export async function pruneByWanda(task: PruneTask): Promise<PrunedLinear> {
  const { linear, stage } = task;
  const weight = requireDense(task.weight, 'wanda');
  const squares = stage.statistics.get(linear.inputGroup)?.squares;
  if (squares === undefined) {
    throw new PithError('STATISTIC_MISSING', `prune ${linear.name}: wanda needs the norms of its input, got none`, {
      kind: 'internal',
      details: { tensor: linear.name, inputGroup: linear.inputGroup },
    });
  }
  const norms = columnNorms(squares);
  const dead = norms.reduce((count, norm) => count + Number(norm === 0), 0);
  const nothing = dead === norms.length;
  const { weight: pruned, result } = await pruneScored(
    weight,
    task,
    nothing ? undefined : { per: 'column', values: norms },
  );
  return { weight: pruned, record: pruneRecord(result), interventions: dead > 0 ? [deadInputs()] : [] };

  function deadInputs(): Intervention {
    return nothing
      ? {
          code: 'INPUT_ALL_ZERO',
          where: linear.path,
          message: 'no calibration token reaches this layer: its weights were compared by magnitude',
          details: { columns: norms.length },
        }
      : {
          code: 'DEAD_COLUMNS',
          where: linear.path,
          message: `${dead} of ${norms.length} input channels are zero for every calibration token: their weights went first`,
          details: { dead, columns: norms.length },
        };
  }
}
