// The global scale of weights that share one, from a pass over all of them.
import { CHUNK_BYTES, cutIntoChunks, type DenseWeight, type KernelHost, type RunOptions } from '@pith/tensor-core';
import { kernelWeight } from './kernel-arguments.ts';
import { refusal } from './refusal.ts';
import type { WeightPlan } from './rtn-types.ts';
import { globalScaleOf } from './scale.ts';
import { measureMagnitude } from './tensor-scale.ts';

/** A planned weight and its values. */
export interface PlannedValues {
  /** Its plan. */
  readonly plan: WeightPlan;
  /** Its values. */
  readonly weight: DenseWeight;
}

/**
 * The global scale (see `globalScaleOf`) of weights that share it: from the largest magnitude of all of them. Each is read
 * once.
 *
 * @throws PithError `WEIGHT_NOT_FINITE`, `STOPPED` and those of the host.
 */
export async function sharedGlobalScale(
  host: KernelHost,
  weights: readonly PlannedValues[],
  { signal }: RunOptions = {},
): Promise<number> {
  let magnitude = 0;
  for (const { plan, weight } of weights) {
    const kernel = kernelWeight(plan);
    const chunks = cutIntoChunks(plan.shape[0], kernel.rowBytes.source, CHUNK_BYTES);
    const refuse = (chunk: { readonly firstRow: number }, result: number) =>
      refusal(plan, weight, chunk.firstRow, result);
    magnitude = Math.max(magnitude, await measureMagnitude({ plan, kernel, weight, host, chunks, signal, refuse }));
  }
  // Weights of one set have one dtype; where they have not, f32 serves all.
  const dtypes = new Set(weights.map(({ plan }) => plan.dtype));
  return globalScaleOf(magnitude, dtypes.size === 1 ? [...dtypes][0]! : 'f32');
}
