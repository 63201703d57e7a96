import { compactWeights, factoredWeight, type WeightTensor } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import {
  plannedWeight,
  runBlocks,
  type BlockOutcome,
  type InputStatistics,
  type LanguageModel,
  type PlannedModel,
  type PlannedWeight,
  type Stage,
} from '@pith/model';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { madeUpModel, memoryWeight, smallConfig } from '../structure/made-up-model.fixture.ts';
import type { PruneOptions } from './prune-options.ts';
import { prunePass } from './prune-pass.ts';

const device = cpuDevice({ threads: 1 });
let pool: KernelPool;
beforeAll(() => void (pool = createKernelPool({ threads: 1 })));
afterAll(async () => {
  await pool.dispose();
  await device.dispose();
});

const json = smallConfig('llama');
const model = madeUpModel(json, 'bf16');
const planned = (of: LanguageModel = model): PlannedModel => ({
  config: json,
  architecture: of.architecture,
  weights: new Map([...of.weights].map(([name, weight]) => [name, plannedWeight(weight)])),
});
const windows = Array.from({ length: 4 }, (_, w) => Int32Array.from({ length: 16 }, (_, i) => (5 * i + 11 * w) % 48));
const linears = model.architecture.blocks.flatMap((block) => block.linears);

function message(options: object): string {
  try {
    prunePass(options as PruneOptions);
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
}

describe('options', () => {
  it.each([1, 1.5, -0.1, NaN, '50%'])('refuse a sparsity of %j', (sparsity) => {
    expect(message({ method: 'magnitude', sparsity })).toMatch(/^prune options: sparsity: /);
  });

  it.each(['5:4', '0:4', 'two of four'])('refuse the pattern %j', (pattern) => {
    expect(message({ method: 'wanda', pattern })).toMatch(/^prune options: pattern: .*write for example "2:4"/);
  });

  it('are checked, every offender at once', () => {
    const text = message({ method: 'wnda', sparsity: 2, pattern: '9:4', sparcity: 0.5, ignore: ['a..b'], damping: -1 });
    for (const part of ['did you mean wanda?', 'sparsity: ', 'pattern: ', 'sparcity: unknown', 'ignore', 'damping: ']) {
      expect(text).toContain(part);
    }
  });

  it('contradict one another in no way', () => {
    expect(message({ method: 'wanda' })).toContain('must be given, or a pattern such as "2:4"');
    expect(message({ method: 'wanda', sparsity: 0.6, pattern: '2:4' })).toContain('must be 0.5 with the pattern "2:4"');
    expect(message({ method: 'wanda', sparsity: 0.5, pattern: '2:4' })).toBe('accepted');
    expect(message({ method: 'wanda', pattern: '2:4', comparison: 'row' })).toContain('leave one of them out');
    expect(message({ method: 'sparsegpt', sparsity: 0.5, comparison: 'row' })).toContain('is not for sparsegpt');
    expect(message({ method: 'wanda', sparsity: 0.5, damping: 0.1, blockColumns: 64, rounding: {} })).toMatch(
      /damping: is for sparsegpt.*blockColumns: is for sparsegpt.*rounding: is for sparsegpt/,
    );
  });

  it('have defaults, and are JSON', () => {
    const config = prunePass({ method: 'sparsegpt', pattern: '2:4' }).config;
    expect(config).toEqual({
      method: 'sparsegpt',
      pattern: { kind: 'n:m', kept: 2, of: 4 },
      ...{ comparison: null, include: [], ignore: [], damping: 0.01, blockColumns: 128, rounding: null },
    });
    expect(JSON.parse(JSON.stringify(config))).toEqual(config);
    expect(Object.isFrozen(config)).toBe(true);
    expect(prunePass({ method: 'magnitude', sparsity: 0.5 }).config['comparison']).toBe('layer');
    expect(prunePass({ method: 'wanda', sparsity: 0.5 }).config['comparison']).toBe('row');
  });

  it('say which statistics are needed', () => {
    const needs = (options: PruneOptions) => prunePass(options).needs(linears[0]!);
    expect(needs({ method: 'magnitude', sparsity: 0.5 })).toEqual([]);
    expect(needs({ method: 'wanda', sparsity: 0.5 })).toEqual(['norms']);
    expect(needs({ method: 'sparsegpt', sparsity: 0.5 })).toEqual(['gram']);
    expect(needs({ method: 'wanda', sparsity: 0.5, ignore: ['q_proj'] })).toEqual([]);
    const taylor = prunePass({ method: 'taylor', sparsity: 0.5 });
    expect(taylor.needsGradients?.(linears[0]!)).toEqual(['squares']);
  });
});

describe('plan', () => {
  it('names each tensor, and keeps its bytes', () => {
    const plan = prunePass({ method: 'wanda', sparsity: 0.5, ignore: ['layers.1', 'down_proj'] }).plan(planned());
    expect(plan.problems).toEqual([]);
    expect(plan.changes.length).toBe(2 * 6);
    const [first] = plan.changes;
    expect(first).toMatchObject({ name: linears[0]!.name, action: 'prune', reason: 'wanda, 50%' });
    expect(first!.after).toEqual({ ...plannedWeight(model.weights.get(linears[0]!.name)!), sparsity: 0.5 });
  });

  it('lists every linear whose columns a pattern does not divide', () => {
    // 32 and 24 columns; 24 is divided by 3, 32 is not.
    const plan = prunePass({ method: 'magnitude', pattern: '1:3' }).plan(planned());
    expect(plan.problems.map(({ code }) => code)).toEqual(Array(3 * 6).fill('PATTERN_DOES_NOT_DIVIDE'));
    expect(plan.problems[0]!.message).toContain('has 32 columns, which runs of 3 (pattern 1:3) do not divide');
    expect(plan.changes.length).toBe(3);
  });

  it('refuses what earlier stages left, by name and with a remedy', () => {
    const base = planned();
    const [a, b, c] = linears.map(({ name }) => base.weights.get(name)!) as PlannedWeight[];
    const weights = new Map(base.weights)
      .set(a!.name, { ...a!, kind: 'quantized' })
      .set(b!.name, { ...b!, kind: 'factored', rank: 4 })
      .set(c!.name, { ...c!, dtype: 'i8' });
    weights.delete(linears[4]!.name);
    weights.set(linears[5]!.name, { ...base.weights.get(linears[5]!.name)!, shape: [3, 4] });
    const found = prunePass({ method: 'wanda', sparsity: 0.5 }).plan({ ...base, weights }).problems;
    expect(found.map(({ code }) => code)).toEqual([
      'REPRESENTATION_NOT_PRUNABLE',
      'REPRESENTATION_NOT_PRUNABLE',
      'DTYPE_NOT_PRUNABLE',
      'TENSOR_MISSING',
      'SHAPE_UNEXPECTED',
    ]);
    expect(found[0]!.message).toContain('prune in a stage before quantization');
    expect(found[1]!.message).toContain('prune before factorizing, or with magnitude or sparsegpt');
    const magnitude = prunePass({ method: 'magnitude', sparsity: 0.5 }).plan({ ...base, weights }).problems;
    expect(magnitude.some(({ name }) => name === b!.name)).toBe(false);
    const nothing = prunePass({ method: 'wanda', sparsity: 0.5, include: ['nonsense'] }).plan(base);
    expect(nothing.problems[0]!.code).toBe('PATTERN_MATCHES_NOTHING');
  });
});

/** All blocks after a pass. */
async function run(options: PruneOptions, of: LanguageModel = model) {
  const outcomes: BlockOutcome[] = [];
  const passes = [prunePass(options)];
  await runBlocks(of, { device, pool, windows, passes, onBlock: async (outcome) => void outcomes.push(outcome) });
  const weights = new Map(outcomes.flatMap((outcome) => [...outcome.weights]));
  const records = Object.assign({}, ...outcomes.flatMap((one) => one.records.map(({ records: each }) => each)));
  return { weights, records, interventions: outcomes.flatMap(({ interventions }) => interventions) } as {
    weights: Map<string, WeightTensor>;
    records: Record<string, Record<string, number>>;
    interventions: BlockOutcome['interventions'];
  };
}

describe('apply', () => {
  it.each(['magnitude', 'wanda', 'taylor'] as const)('%s leaves what stays as it was', async (method) => {
    const { weights, records, interventions } = await run({ method, sparsity: 0.5, ignore: ['layers.1'] });
    for (const { name, block } of linears) {
      const before = await model.weights.get(name)!.toF32();
      const after = weights.get(name)!;
      const values = await after.toF32();
      if (block === 1) expect(values).toEqual(before);
      else {
        expect(after).toMatchObject({ kind: 'dense', dtype: 'bf16' });
        expect(values.filter((value) => value === 0).length).toBe(values.length / 2);
        values.forEach((value, i) => expect(value === 0 || value === before[i]).toBe(true));
        expect(records[name]).toMatchObject({ pruned: 0.5, sparsity: 0.5 });
        expect(records[name]!['lostScore']).toBeLessThan(0.5);
      }
    }
    expect(interventions).toEqual([]);
    expect(JSON.parse(JSON.stringify(records))).toEqual(records);
  });

  it('sparsegpt loses less than Wanda, in the dtype of the weights', async () => {
    const { weights, records } = await run({ method: 'sparsegpt', pattern: '2:4' });
    for (const { name } of linears) {
      expect(weights.get(name)).toMatchObject({ kind: 'dense', dtype: 'bf16' });
      const values = await weights.get(name)!.toF32();
      for (let i = 0; i < values.length; i += 4) {
        expect(values.subarray(i, i + 4).filter((value) => value === 0).length).toBeGreaterThanOrEqual(2);
      }
      expect(records[name]).toMatchObject({ damping: 0.01, deadColumns: 0 });
      expect(records[name]!['sparsity']).toBeGreaterThanOrEqual(0.5);
    }
  });

  it('takes weights that are stored sparse, and leaves them dense', async () => {
    const { name } = linears[0]!;
    const [half] = await compactWeights([(await run({ method: 'magnitude', sparsity: 0.5 })).weights.get(name)!]);
    expect(half!.kind).toBe('sparse');
    const stored = { ...model, weights: new Map(model.weights).set(name, half!) };
    const options = { method: 'magnitude', sparsity: 0.75 } as const;
    const plan = prunePass(options).plan(planned(stored));
    expect(plan.problems).toEqual([]);
    const { weights } = await run(options, stored);
    expect(await weights.get(name)!.toF32()).toEqual(await (await run(options)).weights.get(name)!.toF32());
    expect(plan.changes[0]!.after).toEqual({ ...plannedWeight(weights.get(name)!), sparsity: 0.75 });
  });

  it.each(['magnitude', 'sparsegpt'] as const)('%s prunes both factors of a factored weight', async (method) => {
    const { name } = linears[0]!;
    const stream = (seed: number, n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(seed + i * i));
    const left = memoryWeight(`${name}.left`, [32, 8], stream(1, 256)) as never;
    const right = memoryWeight(`${name}.right`, [8, 32], stream(2, 256)) as never;
    const weights = new Map(model.weights).set(name, factoredWeight({ name, left, right }));
    const pruned = (await run({ method, pattern: '2:4' }, { ...model, weights })).weights.get(name)!;
    if (pruned.kind !== 'factored') throw new Error(`${name} is ${pruned.kind}`);
    for (const factor of [pruned.left, pruned.right]) {
      const values = await factor.toF32();
      expect(values.filter((value) => value === 0).length).toBe(128);
    }
  });
});

describe('rescues', () => {
  const [linear] = linears;
  const statistics = (more: Partial<InputStatistics>): Stage => ({
    block: model.architecture.blocks[0]!,
    linears: [linear!],
    weights: model.weights,
    statistics: new Map([[linear!.inputGroup, { tokens: 4, inFeatures: 32, ...more }]]),
  });
  const apply = (options: PruneOptions, stage: Stage) => prunePass(options).apply(stage, { device, pool, seed: 0 });

  it('says which input channels are dead, and prunes them first', async () => {
    const squares = new Float64Array(32).fill(1);
    squares[7] = 0;
    const { weights, interventions } = await apply({ method: 'wanda', sparsity: 0.1 }, statistics({ squares }));
    expect(interventions).toMatchObject([
      { code: 'DEAD_COLUMNS', where: linear!.path, details: { dead: 1, columns: 32 } },
    ]);
    const values = await weights.get(linear!.name)!.toF32();
    for (let r = 0; r < 32; r++) expect(values[r * 32 + 7]).toBe(0);
  });

  it('compares by magnitude where no input reaches a layer', async () => {
    const zeros = { squares: new Float64Array(32), gram: new Float64Array(32 * 32) };
    for (const method of ['wanda', 'sparsegpt'] as const) {
      const { weights, interventions } = await apply({ method, pattern: '2:4' }, statistics(zeros));
      expect(interventions).toMatchObject([{ code: 'INPUT_ALL_ZERO', where: linear!.path }]);
      const plain = await apply({ method: 'magnitude', pattern: '2:4' }, statistics({}));
      expect((await weights.get(linear!.name)!.toF32()).map((w) => w + 0)).toEqual(
        await plain.weights.get(linear!.name)!.toF32(),
      );
    }
  });

  it('names statistics that are missing', async () => {
    for (const method of ['wanda', 'sparsegpt', 'taylor'] as const) {
      const error = { code: 'STATISTIC_MISSING', kind: 'internal' };
      await expect(apply({ method, sparsity: 0.5 }, statistics({}))).rejects.toMatchObject(error);
    }
  });

  it('refuses weights that are not finite', async () => {
    const data = new Float32Array(32 * 32).fill(1);
    data[5 * 32 + 2] = NaN;
    const stage = statistics({ squares: new Float64Array(32).fill(1), gram: new Float64Array(1024) });
    const weights = new Map(model.weights).set(linear!.name, memoryWeight(linear!.name, [32, 32], data));
    for (const method of ['magnitude', 'wanda', 'sparsegpt'] as const) {
      const result = apply({ method, sparsity: 0.5 }, { ...stage, weights });
      await expect(result).rejects.toMatchObject({ code: 'WEIGHT_NOT_FINITE', details: { row: 5, column: 2 } });
    }
  });
});
