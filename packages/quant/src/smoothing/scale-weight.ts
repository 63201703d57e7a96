// Rows and columns of a weight times factors, in memory. Products in f32.
import {
  denseWeight,
  factoredWeight,
  fromF32,
  memoryBytes,
  PithError,
  type DenseWeight,
  type FactoredWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import type { QuantizableDType } from '../scheme/resolve-scheme.ts';
import { isQuantizable } from '../scheme/resolve-scheme.ts';

/** A dense weight over an array of f32, stored as `dtype`. */
export function denseOf(
  name: string,
  shape: readonly number[],
  values: Float32Array,
  dtype: QuantizableDType = 'f32',
): DenseWeight {
  return denseWeight({ name, dtype, shape, source: memoryBytes(fromF32(dtype, values)) });
}

/** What a dense weight that replaces this one is stored in. */
export function storedDType(weight: DenseWeight): QuantizableDType {
  return isQuantizable(weight.dtype) ? weight.dtype : 'f32';
}

/** True for representations whose rows and columns can be scaled. */
export function isScalable(weight: WeightTensor | undefined): weight is DenseWeight | FactoredWeight {
  if (weight?.kind === 'factored') return weight.left.kind === 'dense' && weight.right.kind === 'dense';
  return weight?.kind === 'dense';
}

/** Column j times `factors[j]`; kept in f32 where `exact`, otherwise rounded to the stored dtype. */
export async function scaleColumns(
  weight: DenseWeight | FactoredWeight,
  factors: Float64Array,
  exact: boolean,
): Promise<DenseWeight | FactoredWeight> {
  if (weight.kind === 'dense') return scaled(weight, (_, column) => factors[column]!, exact);
  const right = await scaled(requireDense(weight.right), (_, column) => factors[column]!, exact);
  return factoredWeight({ name: weight.name, left: weight.left, right });
}

/** Row i times `factors[i]`; a vector's value i. */
export async function scaleRows(
  weight: DenseWeight | FactoredWeight,
  factors: Float64Array,
  exact: boolean,
): Promise<DenseWeight | FactoredWeight> {
  if (weight.kind === 'dense') return scaled(weight, (row) => factors[row]!, exact);
  const left = await scaled(requireDense(weight.left), (row) => factors[row]!, exact);
  return factoredWeight({ name: weight.name, left, right: weight.right });
}

async function scaled(
  weight: DenseWeight,
  factor: (row: number, column: number) => number,
  exact: boolean,
): Promise<DenseWeight> {
  const values = await weight.toF32();
  const columns = weight.shape.slice(1).reduce((a, b) => a * b, 1);
  const result = new Float32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const row = Math.floor(i / columns);
    result[i] = values[i]! * factor(row, i - row * columns);
  }
  return denseOf(weight.name, weight.shape, result, exact ? 'f32' : storedDType(weight));
}

function requireDense(weight: WeightTensor): DenseWeight {
  if (weight.kind === 'dense') return weight;
  throw new PithError('REPRESENTATION_NOT_SCALABLE', `scale ${weight.name}: it must be dense, got ${weight.kind}`, {
    kind: 'internal',
    details: { tensor: weight.name, representation: weight.kind },
  });
}
