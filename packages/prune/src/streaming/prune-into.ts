// The pruning of one weight by scores |w| * factor: chunks of rows are read, scored, cut and written by the threads of a
// pool, file to file. Nothing is sorted: kernels select by the bits of the scores (tensor-core/assembly/select.ts).
import {
  CHUNK_BYTES,
  cutIntoChunks,
  PithError,
  runChunks,
  type Chunk,
  type DenseWeight,
  type FileLocation,
  type KernelHost,
  type RunOptions,
} from '@pith/tensor-core';
import type { JobStep } from '@pith/tensor-core/node';
import type { MaskOptions } from '../pattern/mask.ts';
import { prunedCount } from '../pattern/pattern.ts';
import { layerThreshold, type ChunkThreshold } from './layer-threshold.ts';

/** Numbers that kernels say of a row: squared scores before and after, weights that are zero. */
const ROW_SUMS = 3;

/** Dtypes that are pruned. */
export const PRUNABLE_DTYPES = ['f32', 'f16', 'bf16'] as const;

/** What scores are made with beside the weights. */
export type ScoreFactors =
  | {
      /** One for each column: Wanda's norms. */
      readonly per: 'column';
      /** f32 [columns]. */
      readonly values: Float32Array;
    }
  | {
      /** One for each weight: gradients. */
      readonly per: 'weight';
      /** f32 [rows, columns] row-major. */
      readonly values: Float32Array;
    };

/** Where the pruned weight goes: as many bytes as it has. */
export type PruneDestination =
  | ({
      /** A place in an existing file. */
      readonly kind: 'file';
    } & FileLocation)
  | {
      /** Memory. */
      readonly kind: 'memory';
      /** Is overwritten. */
      readonly bytes: Uint8Array;
    };

/** How {@link pruneInto} works. */
export interface PruneIntoOptions extends RunOptions, MaskOptions {
  /** Threads and memory that it runs on: a `KernelPool`, or `localHost()`. */
  readonly host: KernelHost;
  /** Factors of the scores; magnitudes when left out. */
  readonly factors?: ScoreFactors;
  /** Input bytes of a chunk, about; 4 MiB when left out. Never changes the result. */
  readonly chunkBytes?: number;
  /** Hashes every chunk that is read and written; off when left out. */
  readonly hash?: boolean;
}

/** SHA-256 of one chunk. */
export interface PruneChunkHash {
  /** `source`: bytes of the weight as it was; `pruned`: as it was written. */
  readonly of: 'source' | 'pruned';
  /** Byte offset of the chunk in the weight. */
  readonly offset: number;
  /** Bytes of the chunk. */
  readonly byteLength: number;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
}

/** What came of one weight. */
export interface PruneResult {
  /** Checkpoint name. */
  readonly name: string;
  /** Weights. */
  readonly count: number;
  /** Weights that were chosen to go. */
  readonly pruned: number;
  /** Weights that are zero afterwards: those, and any that were zero before and stayed. */
  readonly zeros: number;
  /**
   * Share of the sum of squared scores that went, 0 to 1. For Wanda this is the relative squared error of the output, as far
   * as inputs are uncorrelated. Sums in f64 in the order of rows.
   */
  readonly lostScore: number;
  /** In the order of offsets; empty unless asked for. */
  readonly hashes: readonly PruneChunkHash[];
}

/** The weight in numbers that kernels take. */
export interface KernelSource {
  /** Index of its dtype for the kernels. */
  readonly dtype: number;
  readonly rows: number;
  readonly columns: number;
  readonly rowBytes: number;
  readonly factors: ScoreFactors | undefined;
  /** Bytes of factors for a chunk of so many rows. */
  factorBytes(rows: number): number;
  readonly scratchBytes: number;
}

/**
 * Prunes one weight and writes it: what stays keeps its bytes, what goes becomes +0. Chunks of rows are read, cut and
 * written by the host's threads with bounded memory (two chunks for each thread), file to file where both sides lie in
 * files. The result is the same for any number of threads and any chunk size.
 *
 * A share of a whole weight (`comparison: 'layer'`) is read twice, and three times unless its scores are bf16 magnitudes.
 *
 * @throws PithError `WEIGHT_NOT_MATRIX`, `DTYPE_NOT_PRUNABLE`, `PATTERN_DOES_NOT_DIVIDE`, `WEIGHT_NOT_FINITE` (names tensor,
 * row and column), `SCORE_NOT_FINITE`, `DESTINATION_SIZE`, `STOPPED` and those of the host.
 */
export async function pruneInto(
  weight: DenseWeight,
  destination: PruneDestination,
  options: PruneIntoOptions,
): Promise<PruneResult> {
  const { pattern, comparison, host, hash = false, chunkBytes = CHUNK_BYTES, signal, progress } = options;
  const source = kernelSource(weight, options);
  checkDestination(weight, destination);
  const { rows, columns, rowBytes, dtype, factors } = source;
  const chunks = cutIntoChunks(rows, rowBytes, chunkBytes);
  const perChunk = chunks[0]?.rows ?? 0;
  const operation = `prune ${weight.name}`;
  const pass = {
    ...{ host, weight, chunks, operation, signal, rowBytes },
    refuse: (chunk: Chunk, result: number) => refusal(weight, factors, chunk.firstRow + result),
  };
  const whole = pattern.kind === 'unstructured' && comparison === 'layer';
  const goal = whole ? prunedCount(rows * columns, pattern.sparsity) : 0;
  const thresholds = whole ? await layerThreshold(pass, source, goal) : undefined;
  const span = pattern.kind === 'n:m' ? pattern.of : columns;
  const perSpan = pattern.kind === 'n:m' ? pattern.of - pattern.kept : prunedCount(columns, pattern.sparsity);

  const before = new Float64Array(rows);
  const after = new Float64Array(rows);
  const hashes: PruneChunkHash[] = [];
  let zeros = 0;
  let rowsDone = 0;
  await runChunks<'factors' | 'scratch' | 'sums'>({
    ...pass,
    hashSource: hash,
    parts: {
      factors: source.factorBytes(perChunk),
      scratch: source.scratchBytes,
      sums: ROW_SUMS * 8 * perChunk,
    },
    ...factorLoading(source),
    steps: (chunk, at) => {
      const { stride, address } = factorArguments(source, at.factors);
      const shared = [dtype, chunk.rows, columns, address, stride] as const;
      const steps: JobStep[] = [cut(thresholds?.[chunk.index])];
      const length = chunk.rows * rowBytes;
      if (hash) steps.push({ op: 'sha256', at: at.source, length });
      if (destination.kind === 'file') {
        const offset = destination.offset + chunk.firstRow * rowBytes;
        steps.push({ op: 'write', path: destination.path, offset, length, at: at.source });
      }
      return steps;

      function cut(limit: ChunkThreshold | undefined): JobStep {
        if (limit === undefined) {
          const args = [at.source, ...shared, perSpan, span, 0, at.sums, at.scratch];
          return { op: 'call', kernel: 'pruneRows', args, expect: -1 };
        }
        const args = [at.source, ...shared, 1, limit.key, limit.ties, 0, at.sums, at.scratch];
        return { op: 'call', kernel: 'pruneBelow', args };
      }
    },
    finish: (chunk, results, part, sourceHash) => {
      const offset = chunk.firstRow * rowBytes;
      const byteLength = chunk.rows * rowBytes;
      const sums = f64Of(part('sums'));
      for (let row = 0; row < chunk.rows; row++) {
        before[chunk.firstRow + row] = sums[ROW_SUMS * row]!;
        after[chunk.firstRow + row] = sums[ROW_SUMS * row + 1]!;
        zeros += sums[ROW_SUMS * row + 2]!;
      }
      if (sourceHash !== undefined) hashes.push({ of: 'source', offset, byteLength, sha256: sourceHash });
      if (hash) hashes.push({ of: 'pruned', offset, byteLength, sha256: results[1] as string });
      if (destination.kind === 'memory') destination.bytes.set(part('source').subarray(0, byteLength), offset);
      rowsDone += chunk.rows;
      progress?.({
        ...{ phase: 'prune', item: weight.name, done: rowsDone, total: rows, unit: 'row' },
        ...{ bytesDone: rowsDone * rowBytes, bytesTotal: rows * rowBytes },
      });
    },
  });
  const total = before.reduce((sum, value) => sum + value, 0);
  const left = after.reduce((sum, value) => sum + value, 0);
  return {
    name: weight.name,
    count: rows * columns,
    pruned: whole ? goal : rows * (columns / span) * perSpan,
    zeros,
    lostScore: total === 0 ? 0 : (total - left) / total,
    hashes: hashes.sort((a, b) => b.of.localeCompare(a.of) || a.offset - b.offset),
  };
}

function kernelSource(weight: DenseWeight, { pattern, factors }: PruneIntoOptions): KernelSource {
  const { name, shape, dtype } = weight;
  const [rows = 0, columns = 0] = shape;
  if (shape.length !== 2 || rows * columns === 0) {
    throw new PithError('WEIGHT_NOT_MATRIX', `prune ${name}: expected a matrix, got [${shape.join(', ')}]`, {
      details: { tensor: name, shape },
    });
  }
  const number = PRUNABLE_DTYPES.indexOf(dtype as (typeof PRUNABLE_DTYPES)[number]);
  if (number < 0) {
    throw new PithError('DTYPE_NOT_PRUNABLE', `prune ${name}: expected f32, f16 or bf16, got ${dtype}`, {
      details: { tensor: name, dtype },
    });
  }
  if (pattern.kind === 'n:m' && columns % pattern.of !== 0) {
    throw new PithError(
      'PATTERN_DOES_NOT_DIVIDE',
      `prune ${name}: runs of ${pattern.of} must divide its ${columns} columns; choose another pattern or a share`,
      { details: { tensor: name, columns, of: pattern.of } },
    );
  }
  const expected = factors?.per === 'column' ? columns : rows * columns;
  if (factors && factors.values.length !== expected) {
    throw new PithError(
      'FACTORS_SIZE',
      `prune ${name}: there must be ${expected} factors (one per ${factors.per}), got ${factors.values.length}`,
      { kind: 'internal', details: { tensor: name, expected, got: factors.values.length } },
    );
  }
  return {
    ...{ dtype: number, rows, columns, factors },
    rowBytes: columns * (dtype === 'f32' ? 4 : 2),
    factorBytes: (count) => (factors === undefined ? 0 : 4 * columns * (factors.per === 'column' ? 1 : count)),
    // As selectScratchBytes of the kernels, which a test holds this to.
    scratchBytes: 2 * (Math.ceil((4 * columns) / 64) * 64 + 64) + 2 * 2048 * 4,
  };
}

/** How the factors get into a slot: once, or with each chunk. */
export function factorLoading({ factors, columns }: KernelSource) {
  if (factors === undefined) return {};
  const bytes = (from: number, to: number) => {
    const values = factors.values.subarray(from, to);
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  };
  type Part = (name: 'factors') => Uint8Array;
  if (factors.per === 'column') return { prepare: (part: Part) => part('factors').set(bytes(0, columns)) };
  return {
    load: ({ firstRow, rows }: Chunk, part: Part) =>
      part('factors').set(bytes(firstRow * columns, (firstRow + rows) * columns)),
  };
}

/** Address and stride of the factors as the kernels take them. */
export function factorArguments({ factors, columns }: KernelSource, at: number): { address: number; stride: number } {
  if (factors === undefined) return { address: 0, stride: 0 };
  return { address: at, stride: factors.per === 'column' ? 0 : columns };
}

function f64Of(bytes: Uint8Array): Float64Array {
  return new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8);
}

async function refusal(weight: DenseWeight, factors: ScoreFactors | undefined, row: number): Promise<PithError> {
  const { name } = weight;
  const values = await weight.toF32(row, row + 1);
  const column = values.findIndex((value) => !Number.isFinite(value));
  if (column >= 0) {
    const value = String(values[column]);
    return new PithError(
      'WEIGHT_NOT_FINITE',
      `prune ${name}: weights must be finite, got ${value} at row ${row}, column ${column}; fetch the checkpoint again, or ` +
        'leave this layer out with an ignore pattern',
      { details: { tensor: name, row, column, value } },
    );
  }
  const offset = factors?.per === 'weight' ? row * values.length : 0;
  const at = values.findIndex((value, i) => !Number.isFinite(Math.fround(value * (factors?.values[offset + i] ?? 1))));
  const factor = String(factors?.values[offset + at]);
  return new PithError(
    'SCORE_NOT_FINITE',
    `prune ${name}: scores must be finite, got weight ${values[at]} times factor ${factor} at row ${row}, column ${at}; ` +
      'check the calibration statistics',
    { details: { tensor: name, row, column: at, factor } },
  );
}

function checkDestination({ name, byteLength }: DenseWeight, destination: PruneDestination): void {
  if (destination.kind !== 'memory' || destination.bytes.byteLength === byteLength) return;
  throw new PithError(
    'DESTINATION_SIZE',
    `prune ${name}: the destination must have ${byteLength} bytes, got ${destination.bytes.byteLength}`,
    { kind: 'internal', details: { tensor: name, byteLength, got: destination.bytes.byteLength } },
  );
}
