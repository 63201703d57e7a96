import { runBlocks } from '@pith/model';
import type { BlockOutcome, LanguageModel } from '@pith/model';
import { afterPlan, logits } from '@pith/model';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { factoredWeight, memoryBlock, quantizedWeight } from '@pith/tensor-core';
import type { Device } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryWeight, planned, smallModel, WINDOWS } from '../testing/model.fixture.ts';
import { restoreDense } from '../restore/restore-dense.ts';
import type { FactorizeOptions } from './factorize-config.ts';
import { factorizePass } from './factorize-pass.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

async function apply(model: LanguageModel, options: FactorizeOptions, inputs: 'original' | 'compressed' = 'original') {
  const outcomes: BlockOutcome[] = [];
  await runBlocks(model, {
    ...{ device, pool, windows: WINDOWS, passes: [factorizePass(options)], inputs },
    onBlock: (outcome) => Promise.resolve(void outcomes.push(outcome)),
  });
  const weights = new Map(model.weights);
  for (const outcome of outcomes) for (const [name, weight] of outcome.weights) weights.set(name, weight);
  const records = Object.assign({}, ...outcomes.flatMap((o) => o.records.map(({ records: made }) => made))) as Record<
    string,
    { rank: number | null; parametersAfter: number; relativeError: number; spectrum: [number, number][] }
  >;
  return { model: { ...model, weights }, records, interventions: outcomes.flatMap((o) => o.interventions) };
}

const Q = 'model.layers.0.self_attn.q_proj';
const K = 'model.layers.0.self_attn.k_proj';
const ids = Int32Array.of(1, 5, 9, 33, 20, 2);
const distance = async (a: LanguageModel, b: LanguageModel) => {
  const [x, y] = [await logits(a, ids, { device }), await logits(b, ids, { device })];
  return Math.sqrt(x.data.reduce((sum, value, i) => sum + (value - y.data[i]) ** 2, 0));
};

describe('factorizePass', () => {
  it('does what it planned, and less of each linear is worse', async () => {
    const model = smallModel();
    const errors: number[] = [];
    for (const ratio of [0.1, 0.3, 0.6]) {
      const options = { method: 'whitened-svd', ratio } as const;
      const plan = factorizePass(options).plan(planned(model));
      expect(plan.problems).toEqual([]);
      const { model: low, records } = await apply(model, options);
      const after = afterPlan(planned(model), plan);
      for (const [name, weight] of low.weights) {
        const expected = after.weights.get(name)!;
        expect([weight.kind, weight.shape, weight.byteLength]).toEqual([
          ...[expected.kind, expected.shape, expected.byteLength],
        ]);
        if (weight.kind === 'factored') expect(weight.rank).toBe(expected.rank);
      }
      expect(records[`${Q}.weight`].rank).toBe(Math.floor(((1 - ratio) * 24 * 24) / 48 + 1e-9));
      errors.push(await distance(model, low));
    }
    expect(errors).toEqual([...errors].sort((a, b) => a - b));
    expect(errors[0]).toBeGreaterThan(0);
  });

  it('whitened is nearer to the model than plain, where inputs are uneven', async () => {
    // Some channels of the hidden states are 30 times as large as others.
    const model = smallModel((name, values) => {
      if (name.includes('layernorm')) values.forEach((_, i) => (values[i] *= i % 4 === 0 ? 30 : 1));
    });
    const of = async (method: 'svd' | 'asvd' | 'whitened-svd') =>
      distance(model, (await apply(model, { method, ratio: 0.4 })).model);
    const [plain, scaled, whitened] = [await of('svd'), await of('asvd'), await of('whitened-svd')];
    expect(whitened).toBeLessThan(plain);
    expect(scaled).toBeLessThan(plain);
  });

  it('keeps the share of energy that is asked for, and dense what would not get smaller', async () => {
    const options = { method: 'svd', energy: 0.8, include: ['self_attn'] } as const;
    const { records, interventions } = await apply(smallModel(), options);
    for (const { rank, relativeError } of Object.values(records)) {
      if (rank !== null) expect(relativeError ** 2).toBeLessThanOrEqual(0.2 + 1e-6);
    }
    const all = await apply(smallModel(), { ...options, energy: 1 });
    expect(Object.values(all.records).every(({ rank }) => rank === null)).toBe(true);
    expect(all.interventions.map(({ code }) => code)).toEqual(new Array(12).fill('KEPT_DENSE'));
    expect(interventions.every(({ code }) => code === 'KEPT_DENSE')).toBe(true);
  });

  it('reports whitening by eigenvalues where there are fewer tokens than channels', async () => {
    const model = smallModel();
    const outcomes: BlockOutcome[] = [];
    await runBlocks(model, {
      ...{ device, pool, windows: [WINDOWS[0]], passes: [factorizePass({ method: 'whitened-svd', ratio: 0.4 })] },
      onBlock: (outcome) => Promise.resolve(void outcomes.push(outcome)),
    });
    const found = outcomes.flatMap((o) => o.interventions).filter(({ code }) => code === 'WHITENED_BY_EIGENVALUES');
    // Four groups of inputs in each of three blocks; q, k and v share one.
    expect(found).toHaveLength(12);
    expect(found[0]).toMatchObject({
      where: 'model.layers.0.attention',
      details: { zeroEigenvalues: 24 - new Set(WINDOWS[0]).size },
    });
  });

  it('sees factorized blocks before it where it is to', async () => {
    const options = { method: 'whitened-svd', ratio: 0.5 } as const;
    const [first, second] = [await apply(smallModel(), options), await apply(smallModel(), options, 'compressed')];
    const bytes = async (low: LanguageModel, name: string) => [...(await low.weights.get(name)!.toF32())];
    expect(await bytes(second.model, `${Q}.weight`)).toEqual(await bytes(first.model, `${Q}.weight`));
    const later = 'model.layers.2.mlp.up_proj.weight';
    expect(await bytes(second.model, later)).not.toEqual(await bytes(first.model, later));
  });

  it('works with ranks of single linears, other dtypes and the randomized solver', async () => {
    const model = smallModel();
    const ranks = { [Q]: 5, [K]: null };
    const { model: low, records } = await apply(model, { method: 'svd', ranks, dtype: 'bf16', solver: 'randomized' });
    expect(Object.keys(records)).toEqual([`${Q}.weight`]);
    expect(low.weights.get(`${Q}.weight`)).toMatchObject({ kind: 'factored', rank: 5, byteLength: 2 * 5 * 48 });
    expect(low.weights.get(`${K}.weight`)!.kind).toBe('dense');
  });

  it('is restored to dense weights', async () => {
    const { model: low } = await apply(smallModel(), { method: 'svd', ratio: 0.4 });
    const restored = restoreDense(low);
    for (const [name, weight] of restored.weights) {
      expect(weight.kind).toBe('dense');
      expect(await weight.toF32()).toEqual(await low.weights.get(name)!.toF32());
    }
    expect(await distance(low, restored)).toBeLessThan(1e-4);
    const half = restoreDense(low, { dtype: 'bf16' }).weights.get(`${Q}.weight`)!;
    expect(half).toMatchObject({ dtype: 'bf16', byteLength: 2 * 24 * 24 });
    const piece = await (half as Extract<typeof half, { kind: 'dense' }>).slice(3, 5).toF32();
    expect(piece).toEqual((await half.toF32()).slice(3 * 24, 5 * 24));
  });

  it('names a weight that is not finite', async () => {
    const model = smallModel((name, values) => {
      if (name === `${Q}.weight`) values[30] = NaN;
    });
    const pass = factorizePass({ method: 'svd', ratio: 0.5 });
    const [block] = model.architecture.blocks;
    const stage = { block, linears: block.linears, weights: model.weights, statistics: new Map() };
    await expect(pass.apply(stage, { device, pool, seed: 0 })).rejects.toMatchObject({
      code: 'WEIGHT_NOT_FINITE',
      details: { tensor: `${Q}.weight`, row: 1, column: 6 },
    });
  });

  it('takes zeros for what they are', async () => {
    const model = smallModel((name, values) => {
      if (name === `${Q}.weight`) values.fill(0);
    });
    const { model: low, records } = await apply(model, { method: 'whitened-svd', ratio: 0.5 });
    expect(records[`${Q}.weight`].relativeError).toBe(0);
    expect((await low.weights.get(`${Q}.weight`)!.toF32()).every((value) => value === 0)).toBe(true);
  });
});

describe('the plan', () => {
  const plan = (options: FactorizeOptions, model = smallModel()) => factorizePass(options).plan(planned(model));

  it('names all ranks that are too large or nothing, at once', () => {
    const large = plan({ method: 'svd', rank: 20 });
    // Keys and values have 12 rows; everything else has 24 at least.
    expect(large.problems.map(({ code }) => code)).toEqual(new Array(6).fill('RANK_TOO_LARGE'));
    expect(large.problems[0]).toMatchObject({ name: `${K}.weight` });
    expect(large.problems[0].message).toMatch(/at most 12, its smaller side, got 20/);
    const none = plan({ method: 'svd', ratio: 0.99 });
    expect(none.problems).toHaveLength(21);
    expect(none.problems[0].message).toMatch(/a ratio of 0.99 leaves .*q_proj.weight \[24, 24\] a rank of 0/);
  });

  it('says what stays dense', () => {
    const { changes, notices, problems } = plan({ method: 'svd', rank: 12 });
    expect(problems).toEqual([]);
    expect(changes.every(({ name }) => name.includes('mlp'))).toBe(true);
    expect(notices).toContain(`${Q} stays dense: at rank 12 two factors have 576 parameters, the weight has 576`);
  });

  it('refuses what it cannot factorize by name', () => {
    const model = smallModel();
    const weights = new Map(model.weights);
    const scheme = {
      kind: 'int',
      bits: 8,
      symmetric: true,
      granularity: { kind: 'channel' },
      scaleDType: 'f32',
    } as const;
    const block = { codes: new Int8Array(24 * 24), scales: new Float32Array(24).fill(1) };
    weights.set(
      `${Q}.weight`,
      quantizedWeight({ name: `${Q}.weight`, shape: [24, 24], scheme, read: memoryBlock(block, scheme, 24, 24) }),
    );
    const [left, right] = [
      memoryWeight('l', [12, 2], new Float32Array(24)),
      memoryWeight('r', [2, 24], new Float32Array(48)),
    ];
    weights.set(`${K}.weight`, factoredWeight({ name: `${K}.weight`, left, right }));
    const { problems } = plan({ method: 'svd', ratio: 0.3 }, { ...model, weights });
    expect(problems.map(({ code, name }) => [code, name])).toEqual([
      ['REPRESENTATION_NOT_FACTORIZABLE', `${Q}.weight`],
      ['REPRESENTATION_NOT_FACTORIZABLE', `${K}.weight`],
    ]);
    expect(problems[1].message).toContain('one that is factored');
  });

  it('refuses ranks of modules that there are not, and patterns', () => {
    const { problems } = plan({ method: 'svd', ranks: { [Q]: 3, 'model.layers.9.mlp': 2 }, ignore: ['nothing'] });
    expect(problems.map(({ code }) => code).sort()).toEqual(['PATTERN_MATCHES_NOTHING', 'RANKS_UNKNOWN_MODULE']);
  });
});

describe('options', () => {
  const refused = (options: unknown) => {
    try {
      factorizePass(options as FactorizeOptions);
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      expect(code).toBe('FACTORIZE_OPTIONS');
      return message;
    }
    throw new Error('accepted');
  };

  it('are refused with all that is wrong', () => {
    expect(refused({ method: 'svd' })).toMatch(/one of energy, rank, ranks, budget must be given/);
    expect(refused({ method: 'svd', rank: 0 })).toMatch(/rank/);
    expect(refused({ method: 'svd', ratio: 1 })).toMatch(/ratio/);
    expect(refused({ method: 'svd', ratio: 0.2, rank: 4, energy: 0.5 })).toMatch(
      /energy.*contradicts.*rank|rank.*contradicts/,
    );
    expect(refused({ method: 'svd', energy: 0 })).toMatch(/energy/);
    expect(refused({ method: 'svd', alpha: 0.5, ratio: 0.2 })).toMatch(/alpha/);
    expect(refused({ method: 'svd', raito: 0.2 })).toMatch(/raito.*did you mean ratio/);
    expect(refused({ method: 'svdd', ratio: 0.2 })).toMatch(/svdd|method/);
    expect(refused({ method: 'svd', ratio: 0.2, include: ['re:('] })).toMatch(/include\[0\]/);
    expect(refused({ method: 'svd', energy: 0.2, solver: 'randomized' })).toMatch(/solver/);
    expect(refused({ method: 'svd', budget: 0.2 })).toMatch(/factorizeTransform/);
    expect(refused({ method: 'svd', ratio: 0.2, weigh: 'loss' })).toMatch(/weigh/);
  });

  it('are frozen, with defaults', () => {
    const { config, name } = factorizePass({ method: 'asvd', ratio: 0.2 });
    expect(name).toBe('asvd');
    expect(config).toEqual({ method: 'asvd', ratio: 0.2, alpha: 0.5, include: [], ignore: [], solver: 'exact' });
    expect(Object.isFrozen(config)).toBe(true);
  });
});
