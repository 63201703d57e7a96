// The scale of a weight that has a single one: passes over all of it before the first code can be written. The
// specification is `chooseScale` of quantize.ts; sums are added in the order of the rows.
import {
  runChunks,
  type Chunk,
  type DenseWeight,
  type KernelHost,
  type PithError,
  type QuantizationScheme,
} from '@pith/tensor-core';
import { percentileRank, rmsLimit } from '../range/measure.ts';
import { candidateScales, leastError } from '../range/search.ts';
import { arithmeticDType } from './arithmetic.ts';
import { codeRange, type ScaleAndZero } from './codec.ts';
import type { KernelWeight } from './kernel-arguments.ts';
import type { WeightPlan } from './rtn-types.ts';
import { scaleOfRange, type ValueRange } from './scale.ts';

/**
 * The largest magnitude of a weight, whose plan gives its shape and dtype.
 *
 * @throws PithError what `refuse` makes of a NaN or an infinity.
 */
export async function measureMagnitude(pass: TensorPass): Promise<number> {
  return (await measure(pass)).magnitude;
}

/** What every pass is made with. */
export interface TensorPass {
  readonly plan: WeightPlan;
  readonly kernel: KernelWeight;
  readonly weight: DenseWeight;
  readonly host: KernelHost;
  readonly chunks: readonly Chunk[];
  readonly signal?: AbortSignal | undefined;
  refuse(chunk: Chunk, result: number): Promise<PithError>;
}

interface Measured extends ValueRange {
  readonly magnitude: number;
  readonly squares: number;
}

/** Chooses the scale and zero point of a weight with granularity `tensor`. */
export async function chooseTensorScale(pass: TensorPass): Promise<ScaleAndZero> {
  const { scheme, range: rule, dtype } = pass.plan;
  const arithmetic = arithmeticDType(dtype, scheme.scaleDType);
  const codes = codeRange(scheme);
  const measured = await measure(pass);
  const range = await rangeOf(pass, measured);
  if (rule.kind !== 'mse' && rule.kind !== 'lp') return scaleOfRange(range, scheme, codes, arithmetic);
  const candidates = candidateScales(range, rule, scheme, codes, arithmetic);
  return candidates[leastError(await search(pass, candidates, measured.magnitude))]!;
}

function isSymmetric(scheme: QuantizationScheme): boolean {
  return scheme.kind === 'float' || scheme.symmetric;
}

async function rangeOf(pass: TensorPass, { lowest, highest, magnitude, squares }: Measured): Promise<ValueRange> {
  const { shape, scheme, range: rule } = pass.plan;
  const symmetric = isSymmetric(scheme);
  const all = symmetric ? { lowest: -magnitude, highest: magnitude } : { lowest, highest };
  const count = shape[0] * shape[1];
  if (rule.kind === 'absmax') return { lowest: -magnitude, highest: magnitude };
  if (rule.kind === 'rms') {
    const limit = rmsLimit(rule.multiple, squares, count);
    return { lowest: Math.max(all.lowest, -limit), highest: Math.min(all.highest, limit) };
  }
  if (rule.kind !== 'percentile') return all;
  const rank = percentileRank(rule, count);
  const high = await valueOfRank(pass, rank, !symmetric);
  return { lowest: symmetric ? -high : await valueOfRank(pass, count + 1 - rank, true), highest: high };
}

/** Extremes and squares, row by row. */
async function measure({ plan, kernel, chunks, ...pass }: TensorPass): Promise<Measured> {
  const [rows, columns] = plan.shape;
  const squares = new Float64Array(rows);
  let lowest = Infinity;
  let highest = -Infinity;
  const chunkRows = chunks[0]!.rows;
  await runChunks<'sums' | 'scratch'>({
    ...pass,
    chunks,
    operation: `quantize ${plan.name}`,
    rowBytes: kernel.rowBytes.source,
    parts: { sums: chunkRows * 16, scratch: columns * 4 },
    steps: ({ rows: count }, at) => [
      {
        op: 'call',
        kernel: 'measureRows',
        args: [at.source, kernel.dtype, count, columns, at.sums, at.scratch],
        expect: -1,
      },
    ],
    finish: ({ firstRow, rows: count }, _, part) => {
      const sums = part('sums');
      const view = new DataView(sums.buffer, sums.byteOffset, sums.byteLength);
      for (let row = 0; row < count; row += 1) {
        lowest = Math.min(lowest, view.getFloat32(row * 16, true));
        highest = Math.max(highest, view.getFloat32(row * 16 + 4, true));
        squares[firstRow + row] = view.getFloat64(row * 16 + 8, true);
      }
    },
  });
  const sum = squares.reduce((total, square) => total + square, 0);
  return { lowest, highest, magnitude: Math.max(Math.abs(lowest), Math.abs(highest)), squares: sum };
}

/** The value (`signed`) or magnitude of a rank: by the upper half of its order key, then by the lower. */
async function valueOfRank(pass: TensorPass, rank: number, signed: boolean): Promise<number> {
  const upper = locate(await countKeys(pass, signed, -1), rank);
  const lower = locate(await countKeys(pass, signed, upper.digit), upper.rank);
  const key = upper.digit * 65536 + lower.digit;
  const bits = !signed ? key : key >= 0x80000000 ? key - 0x80000000 : 0xffffffff - key;
  return new Float32Array(Uint32Array.of(bits).buffer)[0]!;
}

function locate(counts: Float64Array, rank: number): { readonly digit: number; readonly rank: number } {
  let left = rank;
  let digit = 0;
  while (left > counts[digit]!) {
    left -= counts[digit]!;
    digit += 1;
  }
  return { digit, rank: left };
}

async function countKeys({ plan, kernel, chunks, ...pass }: TensorPass, signed: boolean, prefix: number) {
  const [, columns] = plan.shape;
  const counts = new Float64Array(65536);
  await runChunks<'counters' | 'scratch'>({
    ...pass,
    chunks,
    operation: `quantize ${plan.name}`,
    rowBytes: kernel.rowBytes.source,
    parts: { counters: 65536 * 4, scratch: columns * 4 },
    prepare: (part) => void part('counters').fill(0),
    steps: ({ rows }, at) => [
      {
        op: 'call',
        kernel: 'countRows',
        args: [at.source, kernel.dtype, rows, columns, Number(signed), prefix, at.counters, at.scratch],
      },
    ],
    finish: (_chunk, _results, part) => {
      const bytes = part('counters');
      const counters = new Uint32Array(bytes.buffer, bytes.byteOffset, 65536);
      for (let digit = 0; digit < 65536; digit += 1) counts[digit]! += counters[digit]!;
      counters.fill(0);
    },
  });
  return counts;
}

/** The summed error of each candidate. */
async function search(
  { plan, kernel, chunks, ...pass }: TensorPass,
  candidates: readonly ScaleAndZero[],
  magnitude: number,
): Promise<Float64Array> {
  const [rows, columns] = plan.shape;
  const count = candidates.length;
  const sums = new Float64Array(rows * count);
  const pairs = Float32Array.from(candidates.flatMap(({ scale, zeroPoint }) => [scale, zeroPoint]));
  const { coding, asymmetric, arithmetic, norm, dtype } = kernel;
  await runChunks<'pairs' | 'sums' | 'scratch'>({
    ...pass,
    chunks,
    operation: `quantize ${plan.name}`,
    rowBytes: kernel.rowBytes.source,
    parts: { pairs: count * 8, sums: chunks[0]!.rows * count * 8, scratch: kernel.scratchBytes },
    prepare: (part) => part('pairs').set(new Uint8Array(pairs.buffer)),
    steps: ({ rows: chunkRows }, at) => [
      {
        op: 'call',
        kernel: 'searchRows',
        args: [
          ...[at.source, dtype, chunkRows, columns, coding, asymmetric, arithmetic],
          ...[at.pairs, count, norm, magnitude, at.sums, at.scratch],
        ],
      },
    ],
    finish: ({ firstRow, rows: chunkRows }, _, part) => {
      const bytes = part('sums');
      sums.set(new Float64Array(bytes.buffer, bytes.byteOffset, chunkRows * count), firstRow * count);
    },
  });
  const errors = new Float64Array(count);
  for (let i = 0; i < sums.length; i += 1) errors[i % count]! += sums[i]!;
  return errors;
}
