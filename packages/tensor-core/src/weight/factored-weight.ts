// A matrix kept as the product of two smaller ones. Programs run it as two linears; here it is only multiplied out.
import { PithError } from '../errors/pith-error.ts';
import { elementCount } from '../tensor/shape.ts';
import { requireRows } from './rows.ts';
import type { DenseWeight, FactoredWeight, QuantizedWeight } from './weight-tensor.ts';

/** Most f32 bytes of the left factor that are restored at a time. */
const LEFT_BYTES = 4 * 2 ** 20;

/** What a factored weight is made of. */
export interface FactoredWeightParts {
  /** Name of the dense form in the checkpoint. */
  readonly name: string;
  /** [rows, rank]; applied last. */
  readonly left: DenseWeight | QuantizedWeight;
  /** [rank, columns]; applied first. */
  readonly right: DenseWeight | QuantizedWeight;
}

/** Names of the two factors of a weight. */
export interface FactorNames {
  /** Of the factor [rows, rank]. */
  readonly left: string;
  /** Of the factor [rank, columns]. */
  readonly right: string;
}

/** How the factors of a weight are named, as two linear modules in place of one: `q_proj.left.weight`, `q_proj.right.weight`. */
export function factorNames(name: string): FactorNames {
  const module = name.endsWith('.weight') ? name.slice(0, -'.weight'.length) : name;
  return { left: `${module}.left.weight`, right: `${module}.right.weight` };
}

/**
 * A weight as a product of two; nothing is read until it is asked for.
 *
 * `toF32` multiplies the factors, restored to f32, with sums in f64; the right factor is read whole for each call.
 *
 * @throws PithError `FACTORS_DO_NOT_FIT` unless both are matrices with one inner dimension of at least 1, `SHAPE_TOO_LARGE`; its methods throw
 * `ROWS_OUT_OF_RANGE` and what the factors throw
 */
export function factoredWeight({ name, left, right }: FactoredWeightParts): FactoredWeight {
  const [rows, rank] = left.shape;
  const [inner, columns] = right.shape;
  if (left.shape.length !== 2 || right.shape.length !== 2 || rank !== inner || !(rank! > 0)) {
    throw new PithError(
      'FACTORS_DO_NOT_FIT',
      `factored weight ${name}: the factors must be [rows, rank] and [rank, columns] with a rank of at least 1, got ` +
        `[${left.shape.join(', ')}] and [${right.shape.join(', ')}]`,
      { details: { tensor: name, left: left.shape, right: right.shape } },
    );
  }
  elementCount([rows!, columns!], name);
  const toF32 = async (start = 0, end = rows!): Promise<Float32Array> => {
    requireRows(name, start, end, rows!);
    const result = new Float32Array((end - start) * columns!);
    if (result.length === 0) return result;
    const second = await right.toF32();
    const step = Math.max(1, Math.floor(LEFT_BYTES / (4 * rank!)));
    for (let from = start; from < end; from += step) {
      const to = Math.min(end, from + step);
      multiply(await left.toF32(from, to), second, rank!, columns!, result.subarray((from - start) * columns!));
    }
    return result;
  };
  return Object.freeze<FactoredWeight>({
    kind: 'factored',
    name,
    shape: Object.freeze([rows!, columns!]),
    rank: rank!,
    left,
    right,
    byteLength: left.byteLength + right.byteLength,
    toF32,
    slice: (start, end) => {
      requireRows(name, start, end, rows!);
      return factoredWeight({ name, left: left.slice(start, end) as DenseWeight | QuantizedWeight, right });
    },
  });
}

/** into = left (n x rank) right (rank x columns), sums in f64. */
function multiply(left: Float32Array, right: Float32Array, rank: number, columns: number, into: Float32Array): void {
  const sums = new Float64Array(columns);
  for (let i = 0; i < left.length / rank; i++) {
    sums.fill(0);
    for (let p = 0; p < rank; p++) {
      const factor = left[i * rank + p]!;
      const at = p * columns;
      for (let j = 0; j < columns; j++) sums[j]! += factor * right[at + j]!;
    }
    into.set(sums, i * columns);
  }
}
