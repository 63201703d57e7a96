// Rounding as the tools of a format do it: rows of a dense weight are rounded when they are asked for.
import {
  quantizedWeight,
  PithError,
  type CodeBlock,
  type DenseWeight,
  type QuantizedWeight,
  type StoredScheme,
} from '@pith/tensor-core';
import { isQuantizable } from '../scheme/resolve-scheme.ts';

/** Rounds rows: values f32 [rows, columns] to codes and what restores them. */
export type RoundRows = (values: Float32Array, rows: number, columns: number) => CodeBlock;

/**
 * A dense matrix in f32, f16 or bf16 as the quantized weight that a rule makes of it, row by row.
 *
 * @param facts global scale of a scheme that has one.
 * @throws PithError `WEIGHT_NOT_MATRIX`, `DTYPE_NOT_QUANTIZABLE`; its methods `WEIGHT_NOT_FINITE`.
 */
export function roundedWeight(
  weight: DenseWeight,
  scheme: StoredScheme,
  round: RoundRows,
  facts: Pick<QuantizedWeight, 'globalScale'> = {},
): QuantizedWeight {
  const { name, shape, dtype } = weight;
  const [rows = 0, columns = 0] = shape;
  const fail = (code: string, why: string) =>
    new PithError(code, `quantize ${name}: ${why}`, { details: { tensor: name, shape, dtype } });
  if (shape.length !== 2 || rows * columns === 0) {
    throw fail('WEIGHT_NOT_MATRIX', `expected a matrix, got [${shape.join(', ')}]`);
  }
  if (!isQuantizable(dtype)) {
    throw fail('DTYPE_NOT_QUANTIZABLE', `expected f32, f16 or bf16, got ${dtype}; convert it first`);
  }
  return quantizedWeight({
    name,
    shape,
    scheme,
    ...facts,
    read: async (start, end) => {
      const values = await weight.toF32(start, end);
      const wrong = values.findIndex((value) => !Number.isFinite(value));
      if (wrong < 0) return round(values, end - start, columns);
      throw new PithError(
        'WEIGHT_NOT_FINITE',
        `quantize ${name}: weights must be finite, got ${values[wrong]} at row ${start + Math.floor(wrong / columns)}, ` +
          `column ${wrong % columns}; fetch the checkpoint again, or keep this layer (ignore)`,
        { details: { tensor: name, row: start + Math.floor(wrong / columns), column: wrong % columns } },
      );
    },
  });
}

/** Calls back with the extremes of each group of `size` values. */
export function eachGroup(
  values: Float32Array,
  size: number,
  work: (group: number, start: number, lowest: number, highest: number) => void,
): void {
  for (let group = 0, start = 0; start < values.length; group += 1, start += size) {
    let lowest = values[start]!;
    let highest = lowest;
    for (let i = start + 1; i < start + size; i += 1) {
      const value = values[i]!;
      if (value < lowest) lowest = value;
      if (value > highest) highest = value;
    }
    work(group, start, lowest, highest);
  }
}
