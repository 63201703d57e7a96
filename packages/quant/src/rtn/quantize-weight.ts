// Rounding to nearest for library users: one weight in, a quantized weight out, on this thread, in any environment.
import {
  e8m0ToF32,
  groupsPerRow,
  localHost,
  memoryBlock,
  PithError,
  quantizedWeight,
  toF32,
  type DenseWeight,
  type KernelHost,
  type QuantizationScheme,
  type QuantizedWeight,
  type RunOptions,
} from '@pith/tensor-core';
import { rangeProblem } from '../pass/scheme-problems.ts';
import { fittingGroupSizes, isQuantizable, resolveScheme } from '../scheme/resolve-scheme.ts';
import { quantizedPieces, type PieceName } from './pieces.ts';
import { quantizeOn } from './quantize-into.ts';
import { rtnConfig } from './rtn-config.ts';
import type { QuantizationError, QuantizeIntoOptions, RtnOptions, WeightPlan, WeightResult } from './rtn-types.ts';

/** How one weight is quantized: {@link RtnOptions} without the selection of modules. */
export type QuantizeWeightOptions = Omit<RtnOptions, 'include' | 'ignore'> &
  RunOptions & {
    /** What to run on: a `KernelPool`, or this thread when left out. */
    readonly host?: KernelHost;
    /** With scales in e4m3: what they are divided by; that of this weight alone when left out. */
    readonly globalScale?: number;
  };

/** What comes of {@link quantizeWeight}. */
export interface QuantizeWeightResult {
  /** Codes, scales and zero points in memory. */
  readonly weight: QuantizedWeight;
  /** How it differs from the dense weight. */
  readonly error: QuantizationError;
}

/**
 * Rounds one weight to nearest and keeps the result in memory.
 *
 * @example
 * const { weight, error } = await quantizeWeight(dense, { scheme: 'w4g128', range: 'mse' });
 * error.signalToNoise; // dB
 * const restored = await weight.toF32();
 *
 * @param weight [rows, columns] in f32, f16 or bf16; read in chunks of about a megabyte.
 * @throws PithError as `rtnConfig`, and `WEIGHT_NOT_MATRIX`, `DTYPE_NOT_QUANTIZABLE`, `GROUP_DOES_NOT_DIVIDE`,
 * `RANGE_UNSUPPORTED`, `WEIGHT_NOT_FINITE`, `SCALE_OVERFLOW`.
 */
export async function quantizeWeight(
  weight: DenseWeight,
  { host = localHost(), globalScale: shared, signal, progress, ...options }: QuantizeWeightOptions,
): Promise<QuantizeWeightResult> {
  const { name, dtype, shape } = weight;
  const [rows = 0, columns = 0] = shape;
  const config = rtnConfig(options);
  const { granularity } = config.scheme.weights;
  if (shape.length !== 2 || rows * columns === 0) {
    throw new PithError('WEIGHT_NOT_MATRIX', `quantize ${name}: expected a matrix, got [${shape.join(', ')}]`, {
      details: { tensor: name, shape },
    });
  }
  if (!isQuantizable(dtype)) {
    throw new PithError(
      'DTYPE_NOT_QUANTIZABLE',
      `quantize ${name}: expected f32, f16 or bf16, got ${dtype}; convert it first`,
      { details: { tensor: name, dtype } },
    );
  }
  if (granularity.kind === 'group' && columns % granularity.size !== 0) {
    throw new PithError(
      'GROUP_DOES_NOT_DIVIDE',
      `quantize ${name}: groups of ${granularity.size} must divide its ${columns} columns; ` +
        `groups of ${fittingGroupSizes(columns).join(', ')} do`,
      { details: { tensor: name, columns, groupSize: granularity.size, fitting: fittingGroupSizes(columns) } },
    );
  }
  const unsupported = rangeProblem(config.scheme, config.range);
  if (unsupported !== undefined) {
    const { code, message, remedy } = unsupported;
    throw new PithError(code, `quantize ${name}: ${message.replace(/^plan: /, '')}; ${remedy}`, {
      details: { tensor: name, range: config.range },
    });
  }
  const scheme = resolveScheme(config.scheme, dtype);
  const plan = {
    ...{ name, module: name, shape: [rows, columns] as const, dtype, scheme },
    ...{ storage: 'bytes' as const, range: config.range, pieces: [] },
  };
  const { weight: rounded, result } = await quantizeInMemory(plan, weight, {
    host,
    chunkBytes: 2 ** 20,
    ...(shared === undefined ? {} : { globalScale: shared }),
    ...(signal ? { signal } : {}),
    ...(progress ? { progress } : {}),
  });
  return { weight: rounded, error: result.error };
}

/** How {@link quantizeInMemory} runs. */
export type QuantizeInMemoryOptions = Omit<QuantizeIntoOptions, 'pool'> & {
  /** What to run on: a `KernelPool`, or this thread. */
  readonly host: KernelHost;
};

/** A weight in memory, and what rounding it came to. */
export interface QuantizedInMemory {
  /** Codes, scales and zero points in memory. */
  readonly weight: QuantizedWeight;
  /** Its error, and the hashes of the source where they were asked for. */
  readonly result: WeightResult;
}

/**
 * Carries out the plan of one weight in memory, for formats whose layout the kernels do not write: one byte a code,
 * whatever storage and pieces the plan says.
 *
 * @throws PithError `WEIGHT_NOT_FINITE`, `SCALE_OVERFLOW`, `PLAN_MISMATCH`, `STOPPED`.
 */
export async function quantizeInMemory(
  plan: WeightPlan,
  weight: DenseWeight,
  { host, ...options }: QuantizeInMemoryOptions,
): Promise<QuantizedInMemory> {
  const { name, shape, scheme } = plan;
  const [rows, columns] = shape;
  const pieces = quantizedPieces(shape, scheme, 'bytes');
  const bytes = pieces.map((piece) => ({ ...piece, bytes: new Uint8Array(piece.byteLength) }));
  const destinations = Object.fromEntries(bytes.map((piece) => [piece.piece, { kind: 'memory', bytes: piece.bytes }]));
  const result = await quantizeOn(host, { ...plan, storage: 'bytes', pieces }, weight, destinations, options);
  const piece = (name: PieceName) => bytes.find((one) => one.piece === name)?.bytes;
  const [codes, zeroPoints, global] = [piece('codes')!, piece('zeroPoints'), piece('globalScale')];
  const globalScale = global && toF32('f32', global)[0]!;
  const block = {
    codes: scheme.kind === 'int' ? new Int8Array(codes.buffer) : codes,
    scales: effectiveScales(piece('scales')!, scheme, rows, columns, globalScale),
    ...(zeroPoints ? { zeroPoints: new Int8Array(zeroPoints.buffer) } : {}),
  };
  const read = memoryBlock(block, scheme, rows, columns);
  const facts = globalScale === undefined ? {} : { globalScale };
  return { weight: quantizedWeight({ name, shape: [rows, columns], scheme, read, ...facts }), result };
}

/** Stored scales as what codes are multiplied by: of tiles once for each row. */
function effectiveScales(
  bytes: Uint8Array,
  scheme: QuantizationScheme,
  rows: number,
  columns: number,
  globalScale: number | undefined,
): Float32Array {
  const scales = scheme.scaleDType === 'f8_e8m0' ? e8m0ToF32(bytes) : toF32(scheme.scaleDType, bytes);
  if (globalScale !== undefined) return scales.map((scale) => scale / globalScale);
  const { granularity } = scheme;
  if (granularity.kind !== 'block') return scales;
  const perRow = groupsPerRow(granularity, columns);
  const expanded = new Float32Array(rows * perRow);
  for (let row = 0; row < rows; row += 1) {
    const tile = Math.floor(row / granularity.rows) * perRow;
    expanded.set(scales.subarray(tile, tile + perRow), row * perRow);
  }
  return expanded;
}
