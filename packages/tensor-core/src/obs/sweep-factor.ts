// What the Optimal Brain Surgeon sweeps with: U, upper triangular, H⁻¹ = UᵀU, H the Gram matrix of a layer's inputs plus damping
// (GPTQ, section 3.3, "Cholesky reformulation").
//
// H is turned around along both axes and factored, JHJ = LLᵀ; then U = J L⁻¹ J. Against inverting H and factoring the
// inverse, this is one factorization less, and the inverse is never formed. (With the factor of H itself columns could be
// rounded without any inverse, but weights would be final only when their own turn comes: groups of scales and patterns
// are chosen from all their columns before that.)
import type { Device, HostArrays } from '../device/device.ts';
import { isPithError, PithError } from '../errors/pith-error.ts';
import { newArray, splitPoint } from '../linalg/blocks.ts';
import { withBlockMemory, type BlockMemory } from '../linalg/block-memory.ts';
import { factorInPlace, type TriangularOptions } from '../linalg/cholesky.ts';
import { Products } from '../linalg/products.ts';
import { invertInPlace } from '../linalg/triangular-inverse.ts';

/** Damping of {@link sweepFactor} where none is asked for, as GPTQ's: a share of the mean of the diagonal. */
export const DEFAULT_DAMPING = 0.01;
/** Damping is never raised beyond this share of the mean of the diagonal. */
const MAX_DAMPING = 1;
/** Where damping was 0 and has to be raised, it starts here. */
const FIRST_DAMPING = 1e-4;

/** How a Gram matrix is factored. */
export interface SweepFactorOptions extends TriangularOptions {
  /** Added to the diagonal, as a share of its mean over live columns; {@link DEFAULT_DAMPING} when left out. */
  readonly damping?: number;
  /** Order of the sweep: position i of the factor is column `order[i]` of the Gram matrix. In order when left out. */
  readonly order?: Int32Array;
  /** Whose input it is, for errors. */
  readonly label?: string;
}

/** One try that did not succeed. */
export interface FactorFailure {
  /** What products were computed in. */
  readonly dtype: 'f32' | 'f64';
  /** Share of the mean of the diagonal. */
  readonly damping: number;
  /** Position in the order of the sweep where it failed. */
  readonly position: number;
  /** What was left of the diagonal there: not positive, or lost in rounding. */
  readonly pivot: number;
}

/** What {@link sweepFactor} found. */
export interface SweepFactor {
  /**
   * -U_ik at row k and column i: what column k takes of the error of column i. f32 [columns, columns] row-major, lower
   * triangle; rows and columns in the order of the sweep.
   */
  readonly coupling: Float32Array;
  /** 1 / U_kk, what a difference of a column counts: error = difference * pivot. f32 [columns], in the order of the sweep. */
  readonly pivots: Float32Array;
  /** Share of the mean of the diagonal that was added in the end. */
  readonly damping: number;
  /** The same as a number: what was added to each element of the diagonal. */
  readonly added: number;
  /** Columns (of the Gram matrix, ascending) that no token reached: their diagonal is zero and stood in for by the mean. */
  readonly deadColumns: readonly number[];
  /** What products were computed in. */
  readonly dtype: 'f32' | 'f64';
  /** Tries before the last one; empty where the first succeeded. */
  readonly failures: readonly FactorFailure[];
}

/**
 * Factors a damped Gram matrix.
 *
 * First with f32 products (blocks on the diagonal in f64), again in f64 where that fails or loses a pivot in rounding, then
 * with ten times the damping, up to the mean of the diagonal; each failure is reported.
 *
 * @param gram f64 [columns, columns] row-major, symmetric to rounding; not mutated.
 * @throws PithError `GRAM_NOT_FINITE`, `GRAM_NOT_POSITIVE` (a negative diagonal, or damping up to the mean does not help),
 * `STOPPED`.
 */
export async function sweepFactor(
  gram: Float64Array,
  columns: number,
  device: Device,
  options: SweepFactorOptions = {},
): Promise<SweepFactor> {
  const { order, label = 'the layer' } = options;
  const diagonal = checkGram(gram, columns, label);
  const live = diagonal.filter((value) => value > 0);
  const mean = live.length === 0 ? 1 : live.reduce((sum, value) => sum + value, 0) / live.length;
  const deadColumns = Array.from(diagonal.keys()).filter((column) => diagonal[column] === 0);
  const failures: FactorFailure[] = [];
  let damping = options.damping ?? DEFAULT_DAMPING;
  // A power of four near the mean: dividing by it, and its root out of the factor, is exact.
  const unit = 4 ** Math.floor(Math.log2(mean) / 2);
  for (const dtype of tries()) {
    const added = damping * mean;
    const found = await withBlockMemory(blockBytes(dtype, columns, options.blockSize), async (memory) => {
      const matrix = memory?.take(dtype, columns * columns) ?? newArray(dtype, columns * columns);
      turn({ gram, columns, order, diagonal, mean, added, unit }, matrix);
      const failure = await factor(matrix, dtype, columns, device, options, memory);
      return failure === null ? unpack(matrix, columns, Math.sqrt(unit)) : { failure };
    });
    if (!('failure' in found)) return { ...found, damping, added, deadColumns, dtype, failures };
    const { failure } = found;
    failures.push({ dtype, damping, position: columns - 1 - failure.index, pivot: failure.pivot * unit });
  }
  throw new PithError(
    'GRAM_NOT_POSITIVE',
    `sweep factor: the Gram matrix of ${label} must have no negative eigenvalue beyond rounding, got one that damping by ` +
      `${MAX_DAMPING} times the mean of its diagonal does not lift; collect it again`,
    { details: { label, failures } },
  );

  function* tries(): Generator<'f32' | 'f64'> {
    yield 'f32';
    yield 'f64';
    while (damping < MAX_DAMPING) {
      damping = damping === 0 ? FIRST_DAMPING : Math.min(MAX_DAMPING, 10 * damping);
      yield 'f64';
    }
  }
}

/** The diagonal of a matrix that can be a Gram matrix. */
function checkGram(gram: Float64Array, columns: number, label: string): Float64Array {
  if (gram.length !== columns * columns) {
    const text = `sweep factor: the Gram matrix of ${label} must be [${columns}, ${columns}], got ${gram.length} values`;
    throw new PithError('GRAM_SHAPE', text, { kind: 'internal', details: { label, columns, values: gram.length } });
  }
  if (!isFinite(gram)) {
    const at = gram.findIndex((value) => !Number.isFinite(value));
    const [row, column] = [Math.floor(at / columns), at % columns];
    throw new PithError(
      'GRAM_NOT_FINITE',
      `sweep factor: the Gram matrix of ${label} must be finite, got ${gram[at]} at row ${row}, column ${column}; ` +
        'evaluate the model first, its activations overflow',
      { details: { label, row, column, value: String(gram[at]) } },
    );
  }
  const diagonal = Float64Array.from({ length: columns }, (_, i) => gram[i * (columns + 1)]);
  const negative = diagonal.findIndex((value) => value < 0);
  if (negative >= 0) {
    throw new PithError(
      'GRAM_NOT_POSITIVE',
      `sweep factor: the diagonal of the Gram matrix of ${label} must not be negative, got ${diagonal[negative]} at ` +
        `column ${negative}; it is a sum of squares, collect it again`,
      { details: { label, column: negative, value: diagonal[negative] } },
    );
  }
  return diagonal;
}

interface Damped {
  readonly gram: Float64Array;
  readonly columns: number;
  readonly order: Int32Array | undefined;
  readonly diagonal: Float64Array;
  readonly mean: number;
  readonly added: number;
  readonly unit: number;
}

/** Whether all values are; four sums, so that one need not wait for the other. */
function isFinite(values: Float64Array): boolean {
  let [a, b, c, d] = [0, 0, 0, 0]; // NaN once a value is not finite
  const whole = values.length - (values.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a += values[i] - values[i];
    b += values[i + 1] - values[i + 1];
    c += values[i + 2] - values[i + 2];
    d += values[i + 3] - values[i + 3];
  }
  for (let i = whole; i < values.length; i++) a += values[i] - values[i];
  return a + b + c + d === 0;
}

/** Bytes that a matrix is factored in: itself, and twice three blocks. */
function blockBytes(dtype: 'f32' | 'f64', n: number, blockSize = 128): number {
  const largest = n <= blockSize ? 0 : splitPoint(n, blockSize) ** 2;
  return (dtype === 'f32' ? 4 : 8) * (n * n + 6 * largest);
}

/** Writes the damped matrix in the order of the sweep, last column first: its lower triangle, zero above. */
function turn(
  { gram, columns: n, order, diagonal, mean, added, unit }: Damped,
  matrix: HostArrays['f32' | 'f64'],
): void {
  const scale = 1 / unit;
  for (let i = 0; i < n; i++) {
    const own = order ? order[n - 1 - i] : n - 1 - i;
    const to = i * n;
    if (order) {
      const from = own * n;
      for (let j = 0; j < i; j++) matrix[to + j] = gram[from + order[n - 1 - j]] * scale;
    } else {
      const from = own * n + n - 1;
      for (let j = 0; j < i; j++) matrix[to + j] = gram[from - j] * scale;
    }
    matrix[to + i] = ((diagonal[own] || mean) + added) * scale;
    matrix.fill(0, to + i + 1, to + n);
  }
}

/** Overwrites a lower triangle by the inverse of its Cholesky factor; returns the pivot where that fails. */
async function factor(
  data: HostArrays['f32' | 'f64'],
  dtype: 'f32' | 'f64',
  n: number,
  device: Device,
  options: TriangularOptions,
  memory: BlockMemory | undefined,
): Promise<{ readonly index: number; readonly pivot: number } | null> {
  const diagonal = Float64Array.from({ length: n }, (_, i) => data[i * (n + 1)]);
  const products = new Products(device, dtype, options.plainWork);
  const matrix = { dtype, n, data, ...(memory && { memory }) } as Parameters<typeof factorInPlace>[0];
  try {
    const inverses = await factorInPlace(matrix, products, options);
    // A pivot is the difference of numbers as large as the diagonal: below this, most of it is rounding.
    const least = 4 * Math.sqrt(n) * (dtype === 'f32' ? 2 ** -23 : 2 ** -52);
    for (let index = 0; index < n; index++) {
      const pivot = data[index * (n + 1)] ** 2;
      if (pivot < least * diagonal[index]) return { index, pivot };
    }
    await invertInPlace(matrix, products, options, inverses);
    return null;
  } catch (error) {
    if (!isPithError(error) || error.code !== 'NOT_POSITIVE_DEFINITE') throw error;
    return error.details as { index: number; pivot: number };
  } finally {
    await products.dispose();
  }
}

/** Rows of a tile of {@link unpack}: rows often fall on the same few cache lines. Rows and columns that are in hand together. */
const TILE = 8;
const PAGES = 64;

/** The coupling and the pivots of L⁻¹, L the factor of a matrix that was divided by root². */
function unpack(inverse: HostArrays['f32' | 'f64'], n: number, root: number): Pick<SweepFactor, 'coupling' | 'pivots'> {
  const coupling = new Float32Array(n * n);
  const pivots = new Float32Array(n);
  // U = J L⁻¹ J / root, so U_ik is row n - 1 - i, column n - 1 - k there; root is a power of two.
  const scale = -1 / root;
  for (let k = 0; k < n; k++) pivots[k] = root / inverse[(n - 1 - k) * (n + 1)];
  for (let r0 = 0; r0 < n; r0 += PAGES) {
    for (let c0 = 0; c0 <= r0; c0 += PAGES) {
      for (let r1 = r0; r1 < Math.min(r0 + PAGES, n); r1 += TILE) {
        const end = Math.min(r1 + TILE, n);
        for (let c = c0; c < Math.min(c0 + PAGES, end); c++) {
          const to = (n - 1 - c) * n + n - 1;
          for (let r = Math.max(r1, c); r < end; r++) coupling[to - r] = inverse[r * n + c] * scale + 0; // no -0
        }
      }
    }
  }
  return { coupling, pivots };
}
