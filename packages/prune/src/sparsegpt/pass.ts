// SparseGPT on one linear, or on both factors of one.
import {
  denseWeight,
  factoredWeight,
  fromF32,
  memoryBytes,
  PithError,
  type DenseWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import type { Intervention } from '@pith/model';
import { requireDense } from '../unstructured/prune-scored.ts';
import type { PruneTask, PrunedLinear } from '../unstructured/prune-pass.ts';
import { gramAfter } from './gram-after.ts';
import { sparsify, type Sparsified } from './solve.ts';

/** Prunes a linear and moves what stays. */
export async function pruneBySparseGpt(task: PruneTask): Promise<PrunedLinear> {
  const { linear, stage, weight } = task;
  const gram = stage.statistics.get(linear.inputGroup)?.gram;
  if (gram === undefined) {
    throw new PithError(
      'STATISTIC_MISSING',
      `prune ${linear.name}: sparsegpt needs the Gram matrix of its input, got none`,
      {
        kind: 'internal',
        details: { tensor: linear.name, inputGroup: linear.inputGroup },
      },
    );
  }
  if (weight.kind === 'dense') return pruneDense(weight, gram, task);
  const right = requireDense(weight.right, 'sparsegpt');
  const left = requireDense(weight.left, 'sparsegpt');
  const first = await pruneDense(right, gram, task);
  // The left factor sees what the pruned right one gives.
  const between = await gramAfter(first.weight, gram, task.context.device);
  const second = await pruneDense(left, between, task);
  const factors = { left: second.weight as DenseWeight, right: first.weight as DenseWeight };
  return {
    weight: factoredWeight({ name: weight.name, ...factors }),
    record: { left: second.record, right: first.record },
    interventions: [...first.interventions, ...second.interventions],
  };
}

async function pruneDense(weight: DenseWeight, gram: Float64Array, task: PruneTask): Promise<PrunedLinear> {
  const { config, context, rounding, linear } = task;
  const { name, shape } = weight;
  const dtype = weight.dtype as 'f32' | 'f16' | 'bf16';
  const [rows, columns] = shape as readonly [number, number];
  const weights = await weight.toF32();
  requireFinite(name, weights, columns);
  const { device, pool, signal } = context;
  const done = await sparsify(
    { name, dtype, rows, columns, weights, gram },
    {
      pattern: config.pattern,
      damping: config.damping!,
      blockColumns: config.blockColumns!,
      ...(rounding && { rounding }),
      ...{ device, pool },
      ...(signal && { signal }),
    },
  );
  return {
    weight: done.quantized ?? dense(done),
    record: {
      sparsity: done.values.reduce((count, value) => count + Number(value === 0), 0) / done.values.length,
      squaredError: done.squaredError,
      damping: done.factor.damping,
      deadColumns: done.factor.deadColumns.length,
    },
    interventions: interventionsOf(done, columns, config.damping!, linear.path),
  };

  function dense({ values }: Sparsified): WeightTensor {
    const source = memoryBytes(fromF32(dtype, values));
    return denseWeight({ name, dtype, shape, source });
  }
}

function interventionsOf(
  { factor }: Sparsified,
  columns: number,
  damping: number,
  where: string,
): readonly Intervention[] {
  const found: Intervention[] = [];
  const dead = factor.deadColumns.length;
  if (dead === columns) {
    found.push({
      code: 'INPUT_ALL_ZERO',
      where,
      message: 'no calibration token reaches this layer: its weights were compared by magnitude',
      details: { columns },
    });
  } else if (dead > 0) {
    found.push({
      code: 'DEAD_COLUMNS',
      where,
      message: `${dead} of ${columns} input channels are zero for every calibration token: their weights became zero`,
      details: { dead, columns },
    });
  }
  if (factor.dtype === 'f64') {
    found.push({
      code: 'RETRIED_IN_F64',
      where,
      message: 'the Gram matrix could not be factored in f32 and was factored in f64',
      details: { failures: factor.failures },
    });
  }
  if (factor.damping > damping) {
    found.push({
      code: 'DAMPING_RAISED',
      where,
      message: `damping was raised from ${damping} to ${factor.damping} of the mean of the diagonal`,
      details: { from: damping, to: factor.damping },
    });
  }
  return found;
}

/** @throws PithError `WEIGHT_NOT_FINITE` */
function requireFinite(name: string, weights: Float32Array, columns: number): void {
  const at = weights.findIndex((weight) => !Number.isFinite(weight));
  if (at < 0) return;
  const [row, column, value] = [Math.floor(at / columns), at % columns, String(weights[at])];
  throw new PithError(
    'WEIGHT_NOT_FINITE',
    `prune ${name}: weights must be finite, got ${value} at row ${row}, column ${column}; fetch the checkpoint again, or ` +
      'leave this layer out with an ignore pattern',
    { details: { tensor: name, row, column, value } },
  );
}
