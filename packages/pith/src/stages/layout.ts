// What the artefact of a finished model looks like: its tensors in order and its exact size.
import {
  planOutput,
  storedBits,
  storedMembers,
  storedTensors,
  type OutputLayout,
  type OutputTensor,
  type StoredWeightsOptions,
  type WeightFormat,
} from '@pith/checkpoint';
import { outerLinears, strayModules, type Architecture, type KeyValueForm, type PlannedWeight } from '@pith/model';
import {
  byteLengthOf,
  denseWeight,
  elementCount,
  factoredWeight,
  factorNames,
  isPithError,
  PithError,
  quantizedByteLength,
  quantizedWeight,
  type DenseWeight,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';

import type { PlanProblem } from '../plan/types.ts';

/** What the options of an artefact are made from. */
type Kind = Pick<PlannedWeight, 'kind' | 'scheme'>;

/**
 * What is said of the weights of an artefact as a whole: linear modules that stay dense must be named.
 *
 * @param keyValues How kept keys and values are coded, with scales from calibration.
 */
export function storedOptions(
  architecture: Architecture,
  weights: ReadonlyMap<string, WeightTensor | PlannedWeight>,
  format: WeightFormat,
  keyValues: KeyValueForm | null = null,
): StoredWeightsOptions {
  const linears = [...architecture.blocks.flatMap((block) => block.linears), ...outerLinears(architecture)];
  const kept = linears.flatMap(({ path, name }) => {
    const weight = weights.get(name);
    if (weight === undefined || isQuantized(weight)) return [];
    return weight.kind === 'factored' ? [`${path}.left`, `${path}.right`] : [path];
  });
  const dense = [...weights].filter(([, weight]) => !isQuantized(weight));
  const ignore = [...new Set([...kept, ...strayModules(architecture, dense)])];
  if (keyValues === null) return { ignore, format };
  const { dtype, granularity } = keyValues;
  return { ignore, format, kvCache: { dtype, granularity, observer: 'static_minmax' } };
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

/** The layout of planned weights, and all that their format cannot hold. */
export interface PlannedLayout {
  /** Of the weights that fit. */
  readonly layout: OutputLayout;
  /** Stored bytes of each weight by name. */
  readonly bytes: ReadonlyMap<string, number>;
  /** Everything that the format cannot hold. */
  readonly problems: readonly PlanProblem[];
}

/** Lays out weights that are known from headers only. */
export function plannedLayout(
  weights: Iterable<PlannedWeight>,
  options: StoredWeightsOptions,
  shardBytes: number,
): PlannedLayout {
  const bytes = new Map<string, number>();
  const problems: PlanProblem[] = [];
  const tensors: OutputTensor[] = [];
  const fitting: WeightTensor[] = [];
  const guarded = (name: string, work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!isPithError(error) || error.kind !== 'input') throw error;
      problems.push({ code: error.code, name, message: error.message });
    }
  };
  for (const planned of weights) {
    const weight = unreadWeight(planned);
    guarded(planned.name, () => {
      const stored = storedTensors(weight, options);
      // What a pruned weight takes when it is stored sparse is known when it is made: its estimate is in the plan.
      const exact = planned.scheme !== undefined;
      const sum = stored.reduce((total, { dtype, shape }) => total + storedByteLength(dtype, shape), 0);
      bytes.set(planned.name, exact ? sum : planned.byteLength);
      tensors.push(...stored);
      fitting.push(weight);
    });
  }
  if (problems.length === 0) guarded('format', () => void storedMembers(fitting, options));
  return { layout: planOutput(tensors, { shardBytes }), bytes, problems };
}

/** Stored bytes of a weight as an artefact has it. */
export function storedBytesOf(weight: WeightTensor, options: StoredWeightsOptions): number {
  return storedTensors(weight, options).reduce((sum, { dtype, shape }) => sum + storedByteLength(dtype, shape), 0);
}

function storedByteLength(dtype: OutputTensor['dtype'], shape: readonly number[]): number {
  return Math.ceil((storedBits(dtype) * shape.reduce((a, b) => a * b, 1)) / 8);
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

/** Stands for a global scale that is found with the values: none that a format could count on. */
const UNKNOWN_SCALE = 2 ** -126;

function unreadMatrix(
  { kind, dtype, scheme, byteLength, grouped, activations, globalScale = UNKNOWN_SCALE }: PlannedWeight,
  name: string,
  shape: readonly number[],
): DenseWeight | QuantizedWeight {
  const read = (): never => {
    throw new PithError('WEIGHT_NOT_MADE', `read ${name}: it is planned, not made`, { kind: 'internal' });
  };
  if (scheme !== undefined) {
    const [rows = 0, columns = 0] = shape;
    const bytes = kind === 'quantized' ? byteLength : quantizedByteLength(scheme, rows, columns);
    // Which column is in which group is found with the values.
    const groupIndex = grouped === true ? new Int32Array(columns) : undefined;
    return quantizedWeight({
      ...{ name, shape, scheme, read },
      ...(groupIndex && { groupIndex }),
      ...(activations && { activations }),
      ...(scheme.scaleDType === 'f8_e4m3' && { globalScale }),
      byteLengthOfRows: () => bytes,
    });
  }
  const source = { byteLength: byteLengthOf(dtype, elementCount(shape, name)), read, readInto: read };
  return denseWeight({ name, dtype: dtype as 'f32', shape, source });
}
