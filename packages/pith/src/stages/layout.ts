// What the artefact of a finished model looks like: its tensors in order and its exact size.
import { planOutput, storedTensors, type OutputLayout, type StoredWeightsOptions } from '@pith/checkpoint';
import type { Architecture, PlannedWeight } from '@pith/model';
import {
  byteLengthOf,
  denseWeight,
  elementCount,
  factoredWeight,
  factorNames,
  PithError,
  quantizedByteLength,
  quantizedWeight,
  type DenseWeight,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';

/** What the options of an artefact are made from. */
type Kind = Pick<PlannedWeight, 'kind' | 'scheme'>;

/** What is said of the weights of an artefact as a whole: linear modules that stay dense must be named. */
export function storedOptions(
  architecture: Architecture,
  weights: ReadonlyMap<string, WeightTensor | PlannedWeight>,
): StoredWeightsOptions {
  const linears = [...architecture.blocks.flatMap((block) => block.linears), architecture.head];
  const ignore = linears.flatMap(({ path, name }) => {
    const weight = weights.get(name);
    if (weight === undefined || isQuantized(weight)) return [];
    return weight.kind === 'factored' ? [`${path}.left`, `${path}.right`] : [path];
  });
  return { ignore };
}

function isQuantized(weight: WeightTensor | Kind): boolean {
  if (weight.kind === 'factored' && 'left' in weight) return weight.left.kind === 'quantized';
  return weight.kind === 'quantized' || (weight as Kind).scheme !== undefined;
}

/** The layout of weights in files. */
export function layoutOf(
  weights: Iterable<WeightTensor>,
  options: StoredWeightsOptions,
  shardBytes: number,
): OutputLayout {
  return planOutput(
    [...weights].flatMap((weight) => storedTensors(weight, options)),
    { shardBytes },
  );
}

/** A weight that is known from headers only: it can be laid out, not read. */
export function unreadWeight(planned: PlannedWeight): WeightTensor {
  const { name, shape, kind, rank } = planned;
  if (kind !== 'factored' || rank === undefined) return unreadMatrix(planned, name, shape);
  const [rows = 0, columns = 0] = shape;
  const names = factorNames(name);
  return factoredWeight({
    name,
    left: unreadMatrix(planned, names.left, [rows, rank]),
    right: unreadMatrix(planned, names.right, [rank, columns]),
  });
}

function unreadMatrix(
  { kind, dtype, scheme, byteLength }: PlannedWeight,
  name: string,
  shape: readonly number[],
): DenseWeight | QuantizedWeight {
  const read = (): never => {
    throw new PithError('WEIGHT_NOT_MADE', `read ${name}: it is planned, not made`, { kind: 'internal' });
  };
  if (scheme !== undefined) {
    const [rows = 0, columns = 0] = shape;
    const bytes = kind === 'quantized' ? byteLength : quantizedByteLength(scheme, rows, columns);
    return quantizedWeight({ name, shape, scheme, read, byteLengthOfRows: () => bytes });
  }
  const source = { byteLength: byteLengthOf(dtype, elementCount(shape, name)), read, readInto: read };
  return denseWeight({ name, dtype: dtype as 'f32', shape, source });
}
