// GPTQ of one weight (Frantar et al. 2022): columns are rounded one after the other, each one's error is moved onto those to
// come as the inverse Gram matrix says. The sweep itself is tensor-core's; here are the order, dead columns and the errors.
import {
  blockColumnsFor,
  columnSolveBytes,
  OBS_BLOCK_COLUMNS,
  PithError,
  solveColumns,
  transposeOnPool,
  type ColumnRounding,
  type Device,
  type DType,
  type QuantizedWeight,
  type SweepFactor,
} from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';

/** What of a layer's input GPTQ works with: the same for all linears that read it. */
export interface FactoredInput extends SweepFactor {
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
export function gptqSolve(
  weight: GptqWeight,
  input: FactoredInput,
  rounding: ColumnRounding,
  context: SolveContext,
): Promise<GptqSolution> {
  const bytes = columnSolveBytes(weight.rows, weight.columns);
  return context.pool.near(bytes, (pool) => solveOn(weight, input, rounding, { ...context, pool }));
}

async function solveOn(
  weight: GptqWeight,
  input: FactoredInput,
  rounding: ColumnRounding,
  { device, pool, signal }: SolveContext,
): Promise<GptqSolution> {
  const { name, dtype, rows, columns } = weight;
  const { order, diagonal: importance } = input;
  const sweep = { rows, columns, ...(order && { order }) };
  const stop = signal && { signal };
  const { values: live, lost } = withoutDead(weight, input);
  // Columns in another order are gathered from where they lie one behind the other.
  const turned = once(() => transposeOnPool(pool, live, rows, columns, stop));
  const given = order === undefined ? { weights: live } : { weights: await turned(), transposed: true };
  const solve = async () => {
    const run = await rounding.begin({ name, dtype, weights: turned, importance, ...sweep }, pool, signal);
    const solution = await solveColumns({
      ...{ ...given, ...sweep, factor: input, keepValues: false, device, pool, ...stop },
      // A span of all columns begins where a block does, however long blocks are.
      blockColumns: run.span === columns ? OBS_BLOCK_COLUMNS : blockColumnsFor(run.span),
      rule: {
        span: run.span,
        decide: async (span, block, at) => ({ masked: false, quantize: await run.decide(span, block, at) }),
      },
    });
    return { run, solution };
  };
  const { run, solution } = await solve().catch((error: unknown) => {
    // Weights that are not finite have no scale either: they are what is wrong.
    throw notFinite(weight) ?? error;
  });
  const { loss, squaredDifference: error, squares } = solution;
  if (!Number.isFinite(squares)) throw notFinite(weight)!;
  if (!Number.isFinite(loss)) throw diverged(name, input);
  return {
    weight: run.finish(solution.codes),
    outputError: Math.max(0, 2 * loss - input.added * error) / input.tokens,
    signalToNoise: error + lost === 0 ? Infinity : 10 * Math.log10((squares + lost) / (error + lost)),
  };
}

/**
 * The weights with columns that no token reached at zero, unless no token reached any: then nothing speaks against them.
 *
 * @returns f32 [rows, columns], and the sum of squares that went, f64.
 */
function withoutDead({ values, columns }: GptqWeight, { deadColumns, diagonal }: FactoredInput) {
  if (deadColumns.length === 0 || deadColumns.length === diagonal.length) return { values, lost: 0 };
  const live = values.slice();
  let lost = 0;
  for (const column of deadColumns) {
    for (let i = column; i < live.length; i += columns) {
      lost += live[i]! * live[i]!;
      live[i] = 0;
    }
  }
  return { values: live, lost };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

/** The error of the first weight that is not finite, if any. */
function notFinite({ name, values, columns }: GptqWeight): PithError | undefined {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return undefined;
  const [row, column, value] = [Math.floor(at / columns), at % columns, String(values[at])];
  return new PithError(
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
