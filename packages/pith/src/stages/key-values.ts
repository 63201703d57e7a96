// Kept keys and values in a staged run: what does not go together, and the scales as tensors.
import type { WeightFormat } from '@pith/checkpoint';
import { keyValueWeights, type KeyValueQuantization, type PlannedKeyValues, type PlannedWeight } from '@pith/model';
import { byteLengthOf, type DenseWeight } from '@pith/tensor-core';
import type { PlanProblem } from '../plan/types.ts';
import type { Step } from './technique.ts';

/** The one format whose readers know scales of keys and values. */
const FORMAT = 'compressed-tensors';

/** How keys and values are coded, without the scales. */
export function keyValueForm({
  dtype,
  granularity,
  scaleDType,
}: PlannedKeyValues): Omit<KeyValueQuantization, 'scales'> {
  return { dtype, granularity, scaleDType };
}

/** Found scales in the dtype that they are stored in. */
export function scaleWeights(coded: PlannedKeyValues, scales: ReadonlyMap<string, Float32Array>): DenseWeight[] {
  return keyValueWeights({ ...keyValueForm(coded), scales });
}

/** The scales as a plan lays them out. */
export function plannedScales(
  { granularity, scaleDType, reasons }: PlannedKeyValues,
  { keyValueHeads }: { readonly keyValueHeads: number },
): PlannedWeight[] {
  const shape = granularity === 'head' ? [keyValueHeads, 1, 1] : [1];
  const byteLength = byteLengthOf(scaleDType, shape[0]!);
  return [...reasons.keys()].map((name) => ({ name, shape, kind: 'dense', dtype: scaleDType, byteLength }));
}

/** Steps that come after the scales were found, or find them twice, and a format that has no place for them. */
export function keyValueProblems(steps: readonly Step[], { name: format }: WeightFormat): PlanProblem[] {
  const found = steps.findIndex(({ method }) => method === 'kv-cache');
  if (found < 0) return [];
  const problems: PlanProblem[] = [];
  const after = steps.slice(found + 1).map(({ id }) => id);
  if (after.length > 0) {
    problems.push({
      code: 'KV_CACHE_NOT_LAST',
      name: steps[found]!.id,
      message:
        `stage ${steps[found]!.id}, kv-cache: must be the last, as what comes after it changes the keys and values that it looks at, got ` +
        `${after.join(', ')} behind it; put it at the end`,
    });
  }
  if (format !== FORMAT) {
    problems.push({
      code: 'KV_CACHE_FORMAT',
      name: 'format',
      message: `kv-cache: ${FORMAT} alone holds scales of keys and values, got ${format}; leave one of the two out`,
    });
  }
  return problems;
}
