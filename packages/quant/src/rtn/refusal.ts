// What a kernel found wrong with a weight, as an error that says where.
import { PithError, type DenseWeight } from '@pith/tensor-core';
import type { WeightPlan } from './rtn-types.ts';

/** The error behind the result of `quantizeRows` or `measureRows` for rows from `firstRow` on. */
export async function refusal(
  plan: WeightPlan,
  weight: DenseWeight,
  firstRow: number,
  result: number,
): Promise<PithError> {
  if (result <= -2) return scaleOverflow(plan, firstRow - 2 - result);
  const row = firstRow + result;
  const values = await weight.toF32(row, row + 1);
  const column = values.findIndex((value) => !Number.isFinite(value));
  const value = String(values[column]);
  return new PithError(
    'WEIGHT_NOT_FINITE',
    `quantize ${plan.name}: weights must be finite, got ${value} at row ${row}, column ${column}; ` +
      `fetch the checkpoint again, or keep this layer: ignore "${plan.module}"`,
    { details: { tensor: plan.name, row, column, value } },
  );
}

/** A scale beyond the range of its dtype; `row` is undefined where the whole weight has one scale. */
export function scaleOverflow({ name, scheme }: WeightPlan, row: number | undefined): PithError {
  const where = row === undefined ? 'its scale' : `the scale of row ${row}`;
  return new PithError(
    'SCALE_OVERFLOW',
    `quantize ${name}: ${where} must be finite in ${scheme.scaleDType}, got Infinity; store scales in f32 or bf16`,
    { details: { tensor: name, scaleDType: scheme.scaleDType, ...(row === undefined ? {} : { row }) } },
  );
}
