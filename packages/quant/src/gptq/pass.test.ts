import { factoredWeight, factorNames, type Device, type WeightTensor } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { perplexity, type InputStatistics, type LanguageModel, type Stage } from '@pith/model';
import { rtnPass } from '../rtn/pass.ts';
import { memoryWeight, planned, runPasses, tinyModel, TINY_CONFIG } from '../testing/tiny-model.fixture.ts';
import { gptqPass } from './pass.ts';
import type { GptqOptions } from './gptq-config.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

const NAME = 'model.layers.0.mlp.down_proj.weight';

/** The tiny model with one weight as two factors. */
function factored(): LanguageModel {
  const model = tinyModel();
  const names = factorNames(NAME);
  const values = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * i));
  const left = memoryWeight(names.left, [32, 16], values(512));
  const right = memoryWeight(names.right, [16, 48], values(768));
  const weights = new Map<string, WeightTensor>(model.weights).set(NAME, factoredWeight({ name: NAME, left, right }));
  return { ...model, weights };
}

/** One stage of the first block with the statistics of every input made by hand. */
function stageOf(model: LanguageModel, statistics: (inFeatures: number) => InputStatistics): Stage {
  const block = model.architecture.blocks[0]!;
  return {
    block,
    linears: block.linears,
    weights: new Map(model.weights),
    statistics: new Map(block.linears.map(({ inputGroup, inFeatures }) => [inputGroup, statistics(inFeatures)])),
  };
}

function gram(inFeatures: number, change: (gram: Float64Array) => void = () => undefined): InputStatistics {
  const values = new Float64Array(inFeatures * inFeatures);
  for (let t = 0; t < 3 * inFeatures; t++) {
    const x = Float64Array.from({ length: inFeatures }, (_, i) => Math.sin((t + 1) * (i + 2) * 1.7));
    for (let i = 0; i < inFeatures; i++)
      for (let j = 0; j < inFeatures; j++) values[i * inFeatures + j]! += x[i]! * x[j]!;
  }
  change(values);
  return { tokens: 3 * inFeatures, inFeatures, gram: values };
}

const apply = (options: GptqOptions, stage: Stage) => gptqPass(options).apply(stage, { device, pool, seed: 0 });

describe('gptqPass', () => {
  it('finds static scales of the inputs in the pass that finds the Gram matrix; evaluation rounds by them', async () => {
    const dense = tinyModel();
    const run = async (scheme: string, pass = gptqPass({ scheme })) =>
      (await runPasses(dense, [pass], { device, pool, inputs: 'original' })).model;
    const [found, nearest] = [await run('w8a8-static-aasym'), await run('', rtnPass({ scheme: 'w8a8-static-aasym' }))];
    for (const { name } of dense.architecture.blocks.flatMap(({ linears }) => linears)) {
      const [weight, plain] = [found.weights.get(name), nearest.weights.get(name)];
      if (weight?.kind !== 'quantized' || plain?.kind !== 'quantized') throw new Error(`${name} is not quantized`);
      expect(weight.activations).toMatchObject({ kind: 'tensor-static', dtype: 'i8', symmetric: false });
      expect(weight.activations).toEqual(plain.activations);
    }
    const options = { device, ids: Int32Array.from({ length: 96 }, (_, i) => (11 * i) % 40), context: 24 };
    const [rounded, weightsOnly] = [
      await perplexity(found, options),
      await perplexity(found, { ...options, activations: 'weights-only' as const }),
    ];
    expect(rounded.protocol.activations).toBe('quantized');
    expect(Math.abs(rounded.nll - weightsOnly.nll)).toBeGreaterThan(1e-6);
    // One scale for inputs whose every fourth feature is eight times the others.
    expect(Math.abs(rounded.nll - weightsOnly.nll)).toBeLessThan(0.3);
  });

  it('plans exactly the bytes that come out', async () => {
    for (const options of [
      { scheme: 'w4g8' },
      { scheme: 'w3g16-asym', actOrder: 'group' },
      { scheme: 'w8a8', actOrder: 'none' },
    ] as const) {
      const model = factored();
      const pass = gptqPass(options);
      const { changes, problems, notices } = pass.plan(planned(model));
      expect([problems, notices]).toEqual([[], []]);
      expect(changes).toHaveLength(14);
      const result = await runPasses(model, [pass], { device, pool });
      for (const { name, after } of changes) {
        const weight = result.model.weights.get(name)!;
        expect([name, weight.kind, weight.byteLength]).toEqual([name, after!.kind, after!.byteLength]);
      }
    }
  });

  it('tells of each tensor, and of nothing else where all went well', async () => {
    const { outcomes } = await runPasses(factored(), [gptqPass({ scheme: 'w4g8', ignore: ['k_proj'] })], {
      device,
      pool,
    });
    const { records } = outcomes[0]!.records[0]!;
    expect(outcomes[0]!.interventions).toEqual([]);
    expect(Object.keys(records)).toHaveLength(6);
    const facts = {
      damping: 0.01,
      outputError: expect.any(Number) as number,
      signalToNoise: expect.any(Number) as number,
      deadColumns: 0,
    };
    expect(records['model.layers.0.self_attn.q_proj.weight']).toEqual(facts);
    expect(records[NAME]).toEqual({ left: facts, right: facts });
  });

  it('loses less than rounding to nearest, as the block sees it', async () => {
    // What the first block makes of the calibration windows, before and after.
    const outputs = async (passes: Parameters<typeof runPasses>[1]) => {
      let seen: InputStatistics | undefined;
      const look = {
        ...rtnPass({ scheme: 'w8' }),
        name: 'look',
        needs: () => ['gram'] as const,
        apply: (stage: Stage) => {
          if (stage.block.index === 1) seen = stage.statistics.get(stage.linears[0]!.inputGroup);
          return Promise.resolve({ weights: new Map<string, WeightTensor>(), records: {}, interventions: [] });
        },
      };
      await runPasses(tinyModel(), [...passes, look], { device, pool });
      return seen!.gram!;
    };
    const dense = await outputs([]);
    const distance = (other: Float64Array) => other.reduce((sum, value, i) => sum + (value - dense[i]!) ** 2, 0);
    const nearest = distance(await outputs([rtnPass({ scheme: 'w3', include: ['layers.0'] })]));
    const solved = distance(await outputs([gptqPass({ scheme: 'w3', range: 'minmax', include: ['layers.0'] })]));
    expect(solved).toBeLessThan(nearest);
  });

  it('reports dead columns, f64 and raised damping', async () => {
    const stage = stageOf(tinyModel(), (n) =>
      gram(n, (values) => {
        if (n !== 48) return;
        for (let i = 0; i < n; i++) values[5 * n + i] = values[i * n + 5] = 0;
        // Columns 8 and 9 are one.
        for (let i = 0; i < n; i++) values[9 * n + i] = values[8 * n + i]!;
        for (let i = 0; i < n; i++) values[i * n + 9] = values[i * n + 8]!;
      }),
    );
    const { interventions, weights } = await apply({ scheme: 'w4g8', damping: 0, include: ['down_proj'] }, stage);
    expect(interventions.map(({ code, where }) => [code, where])).toEqual([
      ['DEAD_COLUMNS', stage.linears.at(-1)!.inputGroup],
      ['RETRIED_IN_F64', stage.linears.at(-1)!.inputGroup],
      ['DAMPING_RAISED', stage.linears.at(-1)!.inputGroup],
    ]);
    expect(interventions[0]!.details).toEqual({ count: 1, columns: [5] });
    expect(interventions[2]!.details).toMatchObject({ from: 0, to: 1e-4 });
    expect(JSON.parse(JSON.stringify(interventions))).toEqual(interventions);
    const restored = await weights.get(NAME)!.toF32();
    for (let r = 0; r < 32; r++) expect(restored[r * 48 + 5]).toBe(0);
  });

  it('rounds to nearest where no token reached anything', async () => {
    const model = tinyModel();
    const stage = stageOf(model, (n) => ({ tokens: 4, inFeatures: n, gram: new Float64Array(n * n) }));
    const { interventions, weights } = await apply({ scheme: 'w4g8', range: 'minmax', include: ['down_proj'] }, stage);
    expect(interventions).toMatchObject([
      { code: 'DEAD_COLUMNS', message: expect.stringContaining('all columns') as string },
    ]);
    const nearest = await rtnPass({ scheme: 'w4g8', include: ['down_proj'] }).apply(stage, { device, pool, seed: 0 });
    expect(await weights.get(NAME)!.toF32()).toEqual(await nearest.weights.get(NAME)!.toF32());
  });

  it('names a Gram matrix or a weight that is not finite', async () => {
    const stage = stageOf(tinyModel(), (n) => gram(n, (values) => (values[n + 2] = NaN)));
    await expect(apply({ scheme: 'w4g8' }, stage)).rejects.toMatchObject({
      code: 'GRAM_NOT_FINITE',
      details: { label: stage.linears[0]!.inputGroup, row: 1, column: 2 },
    });
    const good = stageOf(tinyModel(), (n) => gram(n));
    const weights = new Map(good.weights);
    weights.set(NAME, memoryWeight(NAME, [32, 48], new Float32Array(32 * 48).fill(NaN, 50, 51)));
    await expect(apply({ scheme: 'w4g8' }, { ...good, weights })).rejects.toMatchObject({
      code: 'WEIGHT_NOT_FINITE',
      details: { tensor: NAME, row: 1, column: 2 },
    });
  });

  it('plans around every group that does not divide, all at once', () => {
    const { problems, changes } = gptqPass({ scheme: 'w4g32' }).plan(planned(tinyModel()));
    // 48 columns; the other linears have 32.
    expect(problems.map(({ code, name }) => [code, name])).toEqual(
      [0, 1].map((layer) => ['GROUP_DOES_NOT_DIVIDE', `model.layers.${layer}.mlp.down_proj.weight`]),
    );
    expect(changes).toHaveLength(12);
    expect(TINY_CONFIG.intermediate_size).toBe(48);
  });

  it('lists every option that it does not take', () => {
    const wrong = {
      scheme: 'w4g8',
      dampening: 0.1,
      actOrder: 'static',
      damping: 2,
      range: 'rms:3',
    } as unknown as GptqOptions;
    expect(() => gptqPass(wrong)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringMatching(/actOrder.*damping.*dampening: unknown, did you mean damping/s) as string,
      }),
    );
    for (const [options, message] of [
      [{ scheme: 'fp8' }, /must code weights as integers/],
      [{ scheme: 'w4-tensor' }, /scheme/],
      [{ scheme: 'w4', range: 'percentile:99' }, /must be one of minmax, absmax, mse, lp/],
      [{ scheme: 'w4', range: 'minmax', importance: 'hessian' }, /weights the errors of a search/],
    ] as const) {
      expect(() => gptqPass(options)).toThrow(message);
    }
    expect(Object.isFrozen(gptqPass({ scheme: 'w4' }).config['scheme'])).toBe(true);
    expect(JSON.parse(JSON.stringify(gptqPass({ scheme: 'w4' }).config))).toMatchObject({
      ...{ method: 'gptq', actOrder: 'weight', damping: 0.01, importance: 'none' },
      range: { kind: 'lp', norm: 2.4, candidates: 20, smallest: 0.2 },
    });
  });
});
