import { sweepFactor, type Device, type DType } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { searchNorm, shrinkFactors } from '../range/search.ts';
import { quantizeWeight } from '../rtn/quantize-weight.ts';
import { memoryWeight } from '../testing/tiny-model.fixture.ts';
import type { IntegerScheme } from '@pith/tensor-core';
import { gptqConfig, type GptqConfig, type GptqOptions } from './gptq-config.ts';
import { roundingOf } from './gptq-rounding.ts';
import { fallingOrder, gptqSolve, type FactoredInput } from './solve.ts';
import { gptqReference, type GptqReferenceResult } from './solve-reference.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 2 });
});
afterAll(async () => {
  await pool.dispose();
  await device.dispose();
});

function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

/** Inputs of unequal size that depend on each other, and the Gram matrix of them. */
function gramOf(columns: number, dead: readonly number[] = [], tokens = 4 * columns): Float64Array {
  const next = numbers(3);
  const gram = new Float64Array(columns * columns);
  for (let t = 0; t < tokens; t++) {
    const x = new Float64Array(columns);
    for (let i = 0; i < columns; i++) x[i] = (1 + (i % 5)) * next() + 0.6 * (x[i - 1] ?? 0);
    for (const column of dead) x[column] = 0;
    for (let i = 0; i < columns; i++) for (let j = 0; j < columns; j++) gram[i * columns + j]! += x[i]! * x[j]!;
  }
  return gram;
}

function weightsOf(rows: number, columns: number): Float32Array {
  const next = numbers(17);
  return Float32Array.from({ length: rows * columns }, () => 0.1 * (next() + next() + next()));
}

interface Problem {
  readonly rows: number;
  readonly columns: number;
  readonly weights: Float32Array;
  readonly gram: Float64Array;
}

const grams = new Map<string, Float64Array>();

function problemOf(rows: number, columns: number, dead: readonly number[] = []): Problem {
  const key = `${columns} ${dead.join()}`;
  const gram = grams.get(key) ?? gramOf(columns, dead);
  grams.set(key, gram);
  return { rows, columns, weights: weightsOf(rows, columns), gram };
}

async function inputOf({ gram, columns }: Problem, { actOrder, damping }: GptqConfig): Promise<FactoredInput> {
  const diagonal = Float64Array.from({ length: columns }, (_, i) => gram[i * (columns + 1)]!);
  const order = actOrder === 'none' ? undefined : fallingOrder(diagonal);
  const found = await sweepFactor(gram, columns, device, { damping, ...(order && { order }) });
  return { ...found, diagonal, tokens: 4 * columns, ...(order && { order }) };
}

async function solve(problem: Problem, options: GptqOptions, dtype: DType = 'f32') {
  const config = gptqConfig(options);
  const { rows, columns, weights: values } = problem;
  const input = await inputOf(problem, config);
  const weight = { name: 'w', dtype, rows, columns, values };
  const solution = await gptqSolve(weight, input, roundingOf(config), { device, pool });
  return { ...solution, input, config, block: await solution.weight.block(), restored: await solution.weight.toF32() };
}

function reference(
  problem: Problem,
  { scheme, range, actOrder, damping, importance }: GptqConfig,
): GptqReferenceResult {
  const { granularity } = scheme.weights;
  const searches = range.kind === 'mse' || range.kind === 'lp';
  const { columns, gram } = problem;
  const diagonal = Float64Array.from({ length: columns }, (_, i) => gram[i * (columns + 1)]!);
  return gptqReference({
    ...problem,
    damping,
    order: actOrder === 'none' ? Int32Array.from(diagonal.keys()) : fallingOrder(diagonal),
    groupSize: granularity.kind === 'group' ? granularity.size : columns,
    groups: actOrder === 'weight' ? 'lying' : 'moving',
    search: {
      scheme: { ...scheme.weights, scaleDType: scheme.scaleDType ?? 'f32' } as IntegerScheme,
      absolute: range.kind === 'absmax',
      factors: searches ? shrinkFactors(range) : Float32Array.of(1),
      norm: searches ? searchNorm(range) : 2,
    },
    weighted: importance === 'hessian',
  });
}

/** tr(D G Dᵀ), the squared error of the outputs that a difference of weights makes. */
function outputError({ rows, columns, weights, gram }: Problem, restored: ArrayLike<number>): number {
  let sum = 0;
  for (let r = 0; r < rows; r++) {
    const d = Float64Array.from({ length: columns }, (_, c) => weights[r * columns + c]! - restored[r * columns + c]!);
    for (let i = 0; i < columns; i++) for (let j = 0; j < columns; j++) sum += d[i]! * gram[i * columns + j]! * d[j]!;
  }
  return sum;
}

const CASES: readonly GptqOptions[] = [
  { scheme: 'w4', actOrder: 'none', range: 'minmax' },
  { scheme: 'w3', actOrder: 'weight', range: 'mse' },
  { scheme: 'w2', actOrder: 'group', range: 'lp:2.4', importance: 'hessian' },
  { scheme: 'w8', actOrder: 'weight', range: 'minmax' },
  { scheme: 'w4-asym', actOrder: 'weight', range: 'minmax' },
  { scheme: 'w4g18', actOrder: 'none', range: 'mse' },
  { scheme: 'w4g18', actOrder: 'weight', range: 'mse', importance: 'hessian' },
  { scheme: 'w4g18', actOrder: 'group', range: 'mse' },
  { scheme: 'w3g36-asym', actOrder: 'group', range: 'lp:2.4,candidates=10' },
  { scheme: 'w3g18-asym', actOrder: 'none', range: 'minmax', damping: 0.1 },
  { scheme: 'w2g36', actOrder: 'weight', range: 'mse', scaleDType: 'f16' },
  { scheme: 'w4g36', actOrder: 'none', range: 'minmax', scaleDType: 'bf16' },
];

describe('gptqSolve', () => {
  it.each(CASES)('gives the codes of the f64 reference: %j', async (options) => {
    // Longer than a block of columns, and than one tile of rows.
    const problem = problemOf(21, 144);
    const { block, config, outputError: found, input } = await solve(problem, options);
    const expected = reference(problem, config);
    // A row goes its own way after the first weight that lies within f32 rounding of a tie.
    let same = 0;
    for (let r = 0; r < problem.rows; r++) {
      const at = [r * problem.columns, (r + 1) * problem.columns] as const;
      const codes = expected.codes.subarray(...at);
      if (block.codes.subarray(...at).every((code, i) => code === codes[i])) same++;
      else expect(Math.min(...expected.margins.subarray(...at))).toBeLessThan(1e-3);
    }
    expect(same).toBeGreaterThanOrEqual(problem.rows - 3);
    // Differing codes change the error by their own share only.
    const direct = outputError(problem, expected.values) / input.tokens;
    expect(Math.abs(found / direct - 1)).toBeLessThan(same === problem.rows ? 1e-4 : 0.02);
  });

  it.each(['none', 'weight', 'group'] as const)(
    'is better than rounding to nearest, act-order %s',
    async (actOrder) => {
      const problem = problemOf(40, 128);
      for (const [scheme, range] of [
        ['w4g32', 'minmax'],
        ['w3', 'mse'],
        ['w2-asym', 'mse'],
      ] as const) {
        const dense = memoryWeight('w', [problem.rows, problem.columns], problem.weights);
        const nearest = await (await quantizeWeight(dense, { scheme, range })).weight.toF32();
        const { restored, outputError: found, input } = await solve(problem, { scheme, range, actOrder });
        const error = outputError(problem, restored);
        expect(error).toBeLessThan(0.8 * outputError(problem, nearest));
        // The error that is reported is the error of what is stored.
        expect(Math.abs((found * input.tokens) / error - 1)).toBeLessThan(1e-3);
      }
    },
  );

  it('is rounding to nearest where inputs do not depend on each other', async () => {
    const columns = 64;
    const gram = new Float64Array(columns * columns);
    for (let i = 0; i < columns; i++) gram[i * (columns + 1)] = 1 + (i % 3);
    const problem = { ...problemOf(9, columns), gram };
    const dense = memoryWeight('w', [9, columns], problem.weights);
    for (const actOrder of ['none', 'weight'] as const) {
      const { block } = await solve(problem, { scheme: 'w4g16', range: 'minmax', actOrder });
      const nearest = await (await quantizeWeight(dense, { scheme: 'w4g16' })).weight.block();
      expect(block.codes).toEqual(nearest.codes);
      expect(block.scales).toEqual(nearest.scales);
    }
  });

  it('stores a group index only where groups moved', async () => {
    const problem = problemOf(8, 64);
    const moved = await solve(problem, { scheme: 'w4g16', actOrder: 'group' });
    const order = moved.input.order!;
    expect([...moved.weight.groupIndex!].map((group, c) => [c, group])).toEqual(
      Array.from({ length: 64 }, (_, c) => [c, Math.floor(order.indexOf(c) / 16)]),
    );
    expect((await solve(problem, { scheme: 'w4g16', actOrder: 'weight' })).weight.groupIndex).toBeUndefined();
    expect((await solve(problem, { scheme: 'w4', actOrder: 'group' })).weight.groupIndex).toBeUndefined();
  });

  it('makes dead columns zero', async () => {
    const dead = [0, 13, 63];
    for (const actOrder of ['none', 'weight', 'group'] as const) {
      for (const scheme of ['w4g16', 'w4-asym']) {
        const { restored, input, signalToNoise, weight } = await solve(problemOf(6, 64, dead), { scheme, actOrder });
        expect(input.deadColumns).toEqual(dead);
        expect(weight.scheme).toMatchObject({ symmetric: scheme === 'w4g16' });
        for (let r = 0; r < 6; r++) for (const column of dead) expect(restored[r * 64 + column]).toBe(0);
        // Three of 64 columns are lost altogether: about 10 log10(64 / 3) dB.
        expect(signalToNoise).toBeLessThan(16);
      }
    }
  });

  it('takes weights that are all zero', async () => {
    const problem = { ...problemOf(5, 32), weights: new Float32Array(5 * 32) };
    const { restored, outputError: found, signalToNoise } = await solve(problem, { scheme: 'w4g16', range: 'mse' });
    expect(restored.every((value) => value === 0)).toBe(true);
    expect(found).toBe(0);
    expect(signalToNoise).toBe(Infinity);
  });

  it('names weights and scales that it cannot take', async () => {
    const problem = problemOf(5, 32);
    const weights = problem.weights.slice();
    weights[70] = NaN;
    await expect(solve({ ...problem, weights }, { scheme: 'w4' })).rejects.toMatchObject({
      code: 'WEIGHT_NOT_FINITE',
      message: expect.stringContaining('got NaN at row 2, column 6') as string,
    });
    const large = problem.weights.map((value) => value * 1e8);
    await expect(solve({ ...problem, weights: large }, { scheme: 'w4', scaleDType: 'f16' })).rejects.toMatchObject({
      code: 'SCALE_OVERFLOW',
      details: { tensor: 'w', row: 0 },
    });
  });

  it('does not depend on the number of threads', async () => {
    const problem = problemOf(700, 32);
    const serial = createKernelPool({ threads: 0 });
    try {
      const config = gptqConfig({ scheme: 'w3g16', actOrder: 'none' });
      const input = await inputOf(problem, config);
      const weight = { name: 'w', dtype: 'f32' as const, ...problem, values: problem.weights };
      const [one, two] = await Promise.all(
        [serial, pool].map((on) => gptqSolve(weight, input, roundingOf(config), { device, pool: on })),
      );
      expect(await one!.weight.block()).toEqual(await two!.weight.block());
      expect(one!.outputError).toBe(two!.outputError);
    } finally {
      await serial.dispose();
    }
  });
});
