// GPTQ of one weight (Frantar et al. 2022): columns are rounded one after the other, each one's error is moved onto those to
// come as the inverse Gram matrix says. The sweep itself is tensor-core's; here are the order, dead columns and the errors.
import {
  blockColumnsFor,
  OBS_BLOCK_COLUMNS,
  PithError,
  solveColumns,
  transposeMatrix,
  type ColumnRounding,
  type Device,
  type DType,
  type InverseFactor,
  type QuantizedWeight,
} from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';

/** What of a layer's input GPTQ works with: the same for all linears that read it. */
export interface FactoredInput extends InverseFactor {
  /** Diagonal of the Gram matrix before damping, [columns]. */
  readonly diagonal: Float64Array;
  /** Column at each position of the sweep; absent where they are swept as they lie. */
  readonly order?: Int32Array;
  /** Tokens that the Gram matrix was summed over. */
  readonly tokens: number;
}

/** A weight to quantize. */
export interface GptqWeight {
  /** Checkpoint name. */
  readonly name: string;
  /** Stored dtype. */
  readonly dtype: DType;
  /** f32 [rows, columns] row-major; not mutated. */
  readonly values: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

/** What it runs on. */
export interface SolveContext {
  readonly device: Device;
  readonly pool: KernelPool;
  readonly signal?: AbortSignal;
}

/** A quantized weight and what it cost. */
export interface GptqSolution {
  readonly weight: QuantizedWeight;
  /**
   * Squared error of the layer's outputs: summed over outputs, mean over tokens. From the sweep's own sums (f32 products),
   * with the share of damping taken off.
   */
  readonly outputError: number;
  /** `10 log10(sum of squares / sum of squared differences)` of the weights in dB; Infinity where nothing differs. */
  readonly signalToNoise: number;
}

/** Columns by falling diagonal, the earlier of equals first: what matters most is rounded while most columns can still make up for it. */
export function fallingOrder(diagonal: Float64Array): Int32Array {
  return Int32Array.from(diagonal.keys()).sort((a, b) => diagonal[b]! - diagonal[a]! || a - b);
}

/**
 * Quantizes one weight. Columns that no token reached become zero, unless no token reached any.
 *
 * @throws PithError `WEIGHT_NOT_FINITE`, `GPTQ_DIVERGED`, and those of the rounding and the solver.
 */
export async function gptqSolve(
  weight: GptqWeight,
  input: FactoredInput,
  rounding: ColumnRounding,
  { device, pool, signal }: SolveContext,
): Promise<GptqSolution> {
  const { name, dtype, values, rows, columns } = weight;
  requireFinite(weight);
  const { order, diagonal: importance } = input;
  const sweep = { rows, columns, ...(order && { order }) };
  const weights = transposeMatrix(values, rows, columns);
  const lost = clearDead(weights, rows, input);
  const run = await rounding.begin({ name, dtype, weights, importance, ...sweep }, pool, signal);
  const solution = await solveColumns({
    ...{ weights, transposed: true, ...sweep, factor: input.factor, device, pool, ...(signal && { signal }) },
    // A span of all columns begins where a block does, however long blocks are.
    blockColumns: run.span === columns ? OBS_BLOCK_COLUMNS : blockColumnsFor(run.span),
    rule: {
      span: run.span,
      decide: async (span, block, at) => ({ masked: false, quantize: await run.decide(span, block, at) }),
    },
  });
  if (!Number.isFinite(solution.loss)) throw diverged(name, input);
  const { error, squares } = differences(weights, solution.swept, rows, order);
  return {
    weight: run.finish(solution.codes),
    outputError: Math.max(0, 2 * solution.loss - input.added * error) / input.tokens,
    signalToNoise: error + lost === 0 ? Infinity : 10 * Math.log10((squares + lost) / (error + lost)),
  };
}

/**
 * Sets columns that no token reached to zero, unless no token reached any: then nothing speaks against the weights.
 *
 * @returns The sum of squares that went, f64.
 */
function clearDead(weights: Float32Array, rows: number, { deadColumns, diagonal }: FactoredInput): number {
  if (deadColumns.length === diagonal.length) return 0;
  let lost = 0;
  for (const column of deadColumns) {
    const values = weights.subarray(column * rows, (column + 1) * rows);
    for (const value of values) lost += value * value;
    values.fill(0);
  }
  return lost;
}

/** Sums of squares in f64: of the weights [columns, rows], and of what the sweep made of them, in its order. */
function differences(before: Float32Array, swept: Float32Array, rows: number, order: Int32Array | undefined) {
  let error = 0;
  let squares = 0;
  for (let i = 0; i * rows < swept.length; i++) {
    const from = (order === undefined ? i : order[i]!) * rows;
    const at = i * rows;
    for (let r = 0; r < rows; r++) {
      const value = before[from + r]!;
      const difference = value - swept[at + r]!;
      error += difference * difference;
      squares += value * value;
    }
  }
  return { error, squares };
}

function requireFinite({ name, values, columns }: GptqWeight): void {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! - values[i]!; // NaN once a value is not finite
  if (sum === 0) return;
  const at = values.findIndex((value) => !Number.isFinite(value));
  const [row, column, value] = [Math.floor(at / columns), at % columns, String(values[at])];
  throw new PithError(
    'WEIGHT_NOT_FINITE',
    `gptq ${name}: weights must be finite, got ${value} at row ${row}, column ${column}; fetch the checkpoint again, or ` +
      'keep this layer: ignore it',
    { details: { tensor: name, row, column, value } },
  );
}

function diverged(name: string, { damping }: FactoredInput): PithError {
  return new PithError(
    'GPTQ_DIVERGED',
    `gptq ${name}: errors must stay finite, got infinity with damping ${damping}; raise the damping`,
    { details: { tensor: name, damping } },
  );
}
