// The kernels against the reference, bit for bit: every number of bits, granularity, dtype, scale dtype and range rule,
// over odd sizes and awkward values.
import { describe, expect, it } from 'vitest';
import {
  fromF32,
  groupsPerRow,
  packAlongRows,
  randomStream,
  type Granularity,
  type QuantizationScheme,
  type ScaleDType,
} from '@pith/tensor-core';
import { parseRange } from '../range/parse-range.ts';
import { parseScheme } from '../scheme/parse-scheme.ts';
import { resolveScheme, type QuantizableDType } from '../scheme/resolve-scheme.ts';
import { roundTo } from './arithmetic.ts';
import { kernelWeight, quantizeArguments, ROW_ERROR_BYTES, tileArguments } from './kernel-arguments.ts';
import { allocate, bytesAt, kernels, place, reset } from './local-kernels.fixture.ts';
import { quantizedPieces } from './pieces.ts';
import { quantize, type DenseMatrix } from './quantize.ts';
import { referencePieces } from './reference-pieces.fixture.ts';
import type { WeightPlan } from './rtn-types.ts';

const DTYPES = ['f32', 'f16', 'bf16'] as const;
const SCALE_DTYPES = ['f32', 'f16', 'bf16'] as const;
const CHANNEL: Granularity = { kind: 'channel' };

/** Rows of a normal distribution, with one each of: zeros, ties, outliers, tiny, huge, one-sided, minus zeros. */
function awkwardMatrix(rows: number, columns: number, dtype: QuantizableDType): DenseMatrix {
  const random = randomStream(7, `matrix ${rows} ${columns}`);
  const values = Float32Array.from({ length: rows * columns }, (_, i) => {
    const value = random.normal() * 0.05;
    switch (Math.floor(i / columns) % 12) {
      case 0:
        return 0;
      case 1:
        return (i % 16) / 2 - 3.5;
      case 2:
        return i % 17 === 3 ? value * 300 : value;
      case 3:
        return value * (dtype === 'f16' ? 1e-5 : 1e-37);
      case 4:
        return value * (dtype === 'f16' ? 1e5 : 1e36);
      case 5:
        return 5 + Math.abs(value);
      case 6:
        return i % 3 === 0 ? -0 : value;
      default:
        return value;
    }
  });
  return { values: values.map((value) => roundTo(dtype, value)), shape: [rows, columns], dtype };
}

/** Runs the kernel and expects what the reference says. */
function expectSame(matrix: DenseMatrix, scheme: QuantizationScheme, rangeText: string, packed: boolean): void {
  reset();
  const range = parseRange(rangeText);
  const storage = packed ? 'packed' : 'bytes';
  const [rows, columns] = matrix.shape;
  const pieces = quantizedPieces(matrix.shape, scheme, storage);
  const { dtype, shape } = matrix;
  const plan: WeightPlan = { ...{ name: 'm.weight', module: 'm', shape, dtype }, scheme, storage, range, pieces };
  const weight = kernelWeight(plan);
  const { granularity } = scheme;
  const perRow = groupsPerRow(granularity, columns);
  const tile = granularity.kind === 'block' ? granularity : undefined;
  const scratchBytes = tile
    ? kernels.tileScratchBytes(columns, tile.rows, tile.columns)
    : kernels.quantizeScratchBytes(columns, perRow);
  expect(weight.scratchBytes).toBeGreaterThanOrEqual(scratchBytes);
  const at = {
    source: place(fromF32(matrix.dtype, matrix.values)),
    codes: allocate(pieces[0]!.byteLength),
    scales: allocate(pieces[1]!.byteLength),
    zeros: allocate(rows * perRow),
    errors: allocate(rows * ROW_ERROR_BYTES),
    factors: place(weight.factors),
    scratch: allocate(scratchBytes),
  };
  const run = (globalScale?: number): number =>
    tile
      ? kernels.quantizeTiles(...tileArguments(weight, rows, at))
      : kernels.quantizeRows(...quantizeArguments(plan, weight, rows, at, undefined, globalScale));
  let reference: ReturnType<typeof quantize>;
  try {
    reference = quantize(matrix, scheme, range);
  } catch (error) {
    expect(error).toMatchObject({ code: 'SCALE_OVERFLOW' });
    expect(run()).toBeLessThan(-1);
    return;
  }
  expect(run(reference.globalScale)).toBe(-1);

  const expected = referencePieces(plan, reference);
  expect(bytesAt(at.scales, pieces[1]!.byteLength), 'scales').toEqual(expected.scales);
  expect(bytesAt(at.codes, pieces[0]!.byteLength), 'codes').toEqual(new Uint8Array(expected.codes!));
  if (reference.zeroPoints) {
    expect(new Int8Array(bytesAt(at.zeros, rows * perRow).buffer), 'zero points').toEqual(reference.zeroPoints);
  }
  const errors = new DataView(bytesAt(at.errors, rows * ROW_ERROR_BYTES).buffer);
  const rowErrors = reference.rowErrors.map((_, row) => ({
    sumSquaredError: errors.getFloat64(row * ROW_ERROR_BYTES, true),
    sumSquares: errors.getFloat64(row * ROW_ERROR_BYTES + 8, true),
    maxAbsError: errors.getFloat32(row * ROW_ERROR_BYTES + 16, true),
    clipped: errors.getInt32(row * ROW_ERROR_BYTES + 20, true),
    zeroScales: errors.getInt32(row * ROW_ERROR_BYTES + 24, true),
  }));
  expect(rowErrors, 'errors').toEqual(reference.rowErrors);
}

function integer(
  bits: number,
  symmetric: boolean,
  granularity: Granularity,
  scaleDType: ScaleDType,
): QuantizationScheme {
  return { kind: 'int', bits, symmetric, granularity, scaleDType };
}

describe('quantizeRows', () => {
  for (const dtype of DTYPES) {
    for (const scaleDType of SCALE_DTYPES) {
      for (const bits of [2, 3, 4, 5, 6, 7, 8]) {
        it(`int${bits}, ${dtype} weights, ${scaleDType} scales: groups and channels of odd sizes`, () => {
          for (const symmetric of [true, false]) {
            expectSame(
              awkwardMatrix(12, 39, dtype),
              integer(bits, symmetric, { kind: 'group', size: 13 }, scaleDType),
              'minmax',
              true,
            );
            expectSame(
              awkwardMatrix(12, 96, dtype),
              integer(bits, symmetric, { kind: 'group', size: 32 }, scaleDType),
              'minmax',
              false,
            );
            expectSame(awkwardMatrix(12, 171, dtype), integer(bits, symmetric, CHANNEL, scaleDType), 'minmax', true);
          }
        });
      }
      for (const float of ['f8_e4m3', 'f8_e5m2'] as const) {
        it(`${float}, ${dtype} weights, ${scaleDType} scales`, () => {
          const scheme: QuantizationScheme = { kind: 'float', dtype: float, granularity: CHANNEL, scaleDType };
          for (const columns of [1, 39, 300]) expectSame(awkwardMatrix(12, columns, dtype), scheme, 'minmax', false);
        });
      }
    }
    for (const rule of [
      'absmax',
      'percentile:97',
      'percentile:51',
      'rms:2.5',
      'rms:0.1',
      'mse:candidates=9',
      'mse:candidates=7,smallest=0.5',
      'lp:2.4,candidates=6',
      'lp:0.7,candidates=5',
      'lp:2,candidates=4',
    ]) {
      it(`range ${rule}, ${dtype} weights`, () => {
        for (const scaleDType of ['f32', dtype] as const) {
          for (const symmetric of [true, false]) {
            for (const bits of [3, 8]) {
              expectSame(awkwardMatrix(12, 130, dtype), integer(bits, symmetric, CHANNEL, scaleDType), rule, true);
              expectSame(
                awkwardMatrix(12, 34, dtype),
                integer(bits, symmetric, { kind: 'group', size: 17 }, scaleDType),
                rule,
                true,
              );
            }
          }
          const scheme: QuantizationScheme = { kind: 'float', dtype: 'f8_e4m3', granularity: CHANNEL, scaleDType };
          expectSame(awkwardMatrix(12, 40, dtype), scheme, rule, false);
        }
      });
    }
  }

  const micro = (name: string) => resolveScheme(parseScheme(name), 'f32');

  for (const dtype of DTYPES) {
    it(`nvfp4, mxfp4, mxfp8, ${dtype} weights: packed and in bytes, every rule`, () => {
      for (const rule of ['minmax', 'absmax', 'percentile:90', 'rms:1.5', 'mse:candidates=7', 'lp:2.4,candidates=5']) {
        for (const [name, columns] of [
          ['nvfp4', 16],
          ['nvfp4', 80],
          ['mxfp4', 96],
          ['mxfp8', 160],
        ] as const) {
          expectSame(awkwardMatrix(12, columns, dtype), micro(name), rule, name !== 'mxfp8');
          expectSame(awkwardMatrix(12, columns, dtype), micro(name), rule, false);
        }
      }
    });

    it(`tiles, ${dtype} weights: edges that are not whole, searched or not`, () => {
      for (const scaleDType of ['f32', dtype] as const) {
        for (const [rows, columns, tileRows, tileColumns] of [
          [12, 40, 5, 16],
          [12, 39, 12, 39],
          [25, 130, 4, 128],
          [3, 7, 8, 8],
          [24, 64, 8, 1],
        ] as const) {
          for (const rule of ['minmax', 'absmax', 'mse:candidates=6', 'lp:2.4,candidates=4']) {
            const granularity = { kind: 'block', rows: tileRows, columns: tileColumns } as const;
            const scheme: QuantizationScheme = { kind: 'float', dtype: 'f8_e4m3', granularity, scaleDType };
            expectSame(awkwardMatrix(rows, columns, dtype), scheme, rule, false);
          }
        }
      }
    });
  }

  it('names the first row of tiles with a NaN, whichever tile it lies in', () => {
    reset();
    const matrix = awkwardMatrix(9, 20, 'bf16');
    matrix.values[7 * 20 + 1] = NaN;
    matrix.values[6 * 20 + 19] = Infinity;
    const granularity = { kind: 'block', rows: 4, columns: 8 } as const;
    const scheme: QuantizationScheme = { kind: 'float', dtype: 'f8_e4m3', granularity, scaleDType: 'bf16' };
    const fixed = { name: '', module: '', shape: matrix.shape, dtype: 'bf16', scheme, storage: 'bytes' } as const;
    const plan: WeightPlan = { ...fixed, range: { kind: 'minmax' }, pieces: [] };
    const at = {
      source: place(fromF32('bf16', matrix.values)),
      codes: allocate(180),
      scales: allocate(18),
      zeros: 0,
      errors: allocate(9 * ROW_ERROR_BYTES),
      factors: 0,
      scratch: allocate(kernels.tileScratchBytes(20, 4, 8)),
    };
    expect(kernels.quantizeTiles(...tileArguments(kernelWeight(plan), 9, at))).toBe(6);
  });

  it('works on rows of one value and of one more than a block', () => {
    for (const columns of [1, 2, 3, 15, 16, 17, 127, 128, 129, 257]) {
      for (const symmetric of [true, false]) {
        expectSame(awkwardMatrix(12, columns, 'bf16'), integer(4, symmetric, CHANNEL, 'bf16'), 'minmax', true);
        expectSame(awkwardMatrix(12, columns, 'f32'), integer(5, symmetric, CHANNEL, 'f32'), 'mse', true);
      }
    }
  });

  it('names the first row with a NaN or infinity', () => {
    for (const dtype of DTYPES) {
      for (const bad of [NaN, Infinity, -Infinity]) {
        reset();
        const matrix = awkwardMatrix(7, 33, dtype);
        matrix.values[4 * 33 + 32] = bad;
        matrix.values[6 * 33] = bad;
        const scheme = integer(4, true, CHANNEL, 'f32');
        const pieces = quantizedPieces(matrix.shape, scheme, 'packed');
        const plan: WeightPlan = {
          name: '',
          module: '',
          shape: matrix.shape,
          dtype,
          scheme,
          storage: 'packed',
          range: { kind: 'minmax' },
          pieces,
        };
        const at = {
          source: place(fromF32(dtype, matrix.values)),
          codes: allocate(pieces[0]!.byteLength),
          scales: allocate(pieces[1]!.byteLength),
          zeros: 0,
          errors: allocate(7 * ROW_ERROR_BYTES),
          factors: 0,
          scratch: allocate(kernels.quantizeScratchBytes(33, 1)),
        };
        expect(kernels.quantizeRows(...quantizeArguments(plan, kernelWeight(plan), 7, at))).toBe(4);
      }
    }
  });
});

describe('packZeroPoints', () => {
  it('packs along the rows', () => {
    for (const bits of [2, 3, 4, 5, 6, 7, 8]) {
      for (const [rows, groups] of [
        [1, 1],
        [7, 3],
        [32, 2],
        [45, 5],
      ] as const) {
        reset();
        const random = randomStream(1, `zeros ${bits} ${rows}`);
        const codes = Int8Array.from({ length: rows * groups }, () => random.below(2 ** bits) - 2 ** (bits - 1));
        const words = Math.ceil((rows * bits) / 32);
        const target = allocate(words * groups * 4);
        kernels.packZeroPoints(place(codes), target, rows, groups, bits, allocate(rows + 4 + words * 4));
        const expected = packAlongRows(codes, { rows, columns: groups, bits });
        expect(new Int32Array(bytesAt(target, words * groups * 4).buffer)).toEqual(expected);
      }
    }
  });
});
