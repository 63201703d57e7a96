import { afterPlan, logits } from '@pith/model';
import type { LanguageModel } from '@pith/model';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import type { Device } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planned, smallModel } from '../testing/model.fixture.ts';
import type { DecomposeOptions } from './decompose-config.ts';
import { decomposeTransform } from './decompose-transform.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

const context = () => ({ device, pool, seed: 0, windows: [] });
const apply = async (model: LanguageModel, options: DecomposeOptions) => {
  const transform = decomposeTransform(options);
  const plan = transform.plan(planned(model));
  expect(plan.problems).toEqual([]);
  const result = await transform.apply(model, context());
  const after = afterPlan(planned(model), plan);
  for (const [name, weight] of result.weights) {
    const { kind, shape, byteLength, rank } = after.weights.get(name)!;
    expect([name, weight.kind, weight.shape, weight.byteLength]).toEqual([name, kind, shape, byteLength]);
    if (weight.kind === 'factored') expect(weight.rank).toBe(rank);
  }
  return { ...result, plan, model: { ...model, weights: result.weights } };
};
const relative = async (a: LanguageModel, b: LanguageModel, name: string) => {
  const [x, y] = [await a.weights.get(name)!.toF32(), await b.weights.get(name)!.toF32()];
  const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return norm(x.map((value, i) => value - y[i])) / norm(x);
};

/** All query matrices with the same row space of 5 directions, all down matrices sums of the same 4 outer products. */
const planted = () => {
  const wave = (i: number, step: number) => Math.sin(step * (i + 1) + (i * i) / 31);
  return smallModel((name, values) => {
    const layer = Number(/layers\.(\d)/.exec(name)?.[1] ?? 0);
    const fill = (rank: number, columns: number, left: (row: number, k: number) => number) => {
      for (let i = 0; i < values.length; i++) {
        const [row, column] = [Math.floor(i / columns), i % columns];
        values[i] = 0;
        for (let k = 0; k < rank; k++) values[i] += left(row, k) * wave(column, 1.3 + k);
      }
    };
    if (name.endsWith('q_proj.weight')) fill(5, 24, (row, k) => wave(row + 40 * layer, 0.7 + 2 * k));
    if (name.endsWith('down_proj.weight')) fill(4, 40, (row, k) => wave(row, 0.9 + 3 * k) * (1 + wave(layer, 2 + k)));
  });
};
const Q = (layer: number) => `model.layers.${layer}.self_attn.q_proj.weight`;
const DOWN = (layer: number) => `model.layers.${layer}.mlp.down_proj.weight`;

describe('decomposeTransform', () => {
  it('finds what the same matrix shares across layers', async () => {
    const model = planted();
    const options = { method: 'tucker', ranks: [3, 24, 5], include: ['q_proj'] } as const;
    const { model: low, records } = await apply(model, options);
    const right = await Promise.all(
      [0, 1, 2].map(async (layer) => {
        const weight = low.weights.get(Q(layer))!;
        expect(weight).toMatchObject({ kind: 'factored', rank: 5 });
        // f32 factors, products of five of their values.
        expect(await relative(model, low, Q(layer))).toBeLessThan(2e-6);
        return weight.kind === 'factored' ? weight.right.toF32() : undefined;
      }),
    );
    // One right factor for all, up to what balancing gives each row.
    const quotient = (i: number) => right[1]![i] / right[0]![i];
    for (let i = 1; i < 24; i++) expect(quotient(i) / quotient(0)).toBeCloseTo(1, 3);
    expect(records[Q(0)]).toMatchObject({ stack: 'query [24, 24]', rank: 5, ranks: [3, 24, 5], parametersAfter: 240 });
  });

  it('finds outer products that all layers are made of', async () => {
    const model = planted();
    const options = {
      method: 'cp',
      rank: 4,
      include: ['down_proj'],
      iterations: 3000,
      tolerance: 1e-12,
      starts: 3,
    } as const;
    const { model: low } = await apply(model, options);
    for (const layer of [0, 1, 2]) expect(await relative(model, low, DOWN(layer))).toBeLessThan(1e-3);
    expect(low.weights.get(DOWN(0))).toMatchObject({ kind: 'factored', rank: 4 });
  });

  it.each(['tucker', 'cp'] as const)(
    '%s of heads keeps them in their places, along rows and columns',
    async (method) => {
      const model = smallModel();
      // As many terms as any tensor of these shapes needs; all that two factors of a matrix may have.
      const options = method === 'tucker' ? { method, ratio: 0.2 } : { method, ratio: 0.2, iterations: 20 };
      const { model: low, plan } = await apply(model, { ...options, stack: 'heads' });
      expect(plan.notices.filter((notice) => notice.includes('it has no heads'))).toHaveLength(9);
      for (const path of ['q_proj', 'k_proj', 'v_proj', 'o_proj']) {
        const name = `model.layers.1.self_attn.${path}.weight`;
        expect(low.weights.get(name)!.kind).toBe('factored');
        // A wrong place would leave nothing of the matrix.
        expect(await relative(model, low, name)).toBeLessThan(method === 'tucker' ? 0.75 : 0.95);
      }
      expect((await logits(low, Int32Array.of(1, 2, 3), { device })).data.every(Number.isFinite)).toBe(true);
    },
  );

  it('stores dense what factors would not make smaller', async () => {
    const model = smallModel();
    const { model: low, plan } = await apply(model, {
      method: 'tucker',
      ranks: [2, 20, 20],
      include: ['q_proj', 'o_proj'],
    });
    expect(plan.changes).toHaveLength(6);
    expect(plan.changes[0].reason).toMatch(
      /Tucker with ranks 2, 20, 20 of the stack query .* stored dense, as factors of rank 20/,
    );
    expect(low.weights.get(Q(0))!.kind).toBe('dense');
    const error = await relative(model, low, Q(0));
    expect(error).toBeGreaterThan(0.05);
    expect(error).toBeLessThan(1);
  });

  it('says where alternating least squares was stopped', async () => {
    const { interventions } = await apply(smallModel(), { method: 'cp', rank: 3, iterations: 1, include: ['k_proj'] });
    expect(interventions).toMatchObject([{ code: 'ALS_STOPPED', where: 'key [12, 24]', details: { iterations: 1 } }]);
  });

  it('refuses ranks that there are not, all at once, and memory that is not there', async () => {
    const model = planned(smallModel());
    const { problems } = decomposeTransform({ method: 'tucker', ranks: [4, 1, 1], include: ['self_attn'] }).plan(model);
    expect(problems.map(({ code, name }) => [code, name])).toEqual([
      ['RANK_TOO_LARGE', 'query [24, 24]'],
      ['RANK_TOO_LARGE', 'key [12, 24]'],
      ['RANK_TOO_LARGE', 'value [12, 24]'],
      ['RANK_TOO_LARGE', 'attention-output [24, 24]'],
    ]);
    const none = decomposeTransform({ method: 'cp', ratio: 0.99 }).plan(model);
    expect(none.problems.every(({ code }) => code === 'RANK_ZERO')).toBe(true);
    const tight = decomposeTransform({ method: 'cp', rank: 2 }).apply(smallModel(), {
      ...context(),
      memoryBytes: 1000,
    });
    await expect(tight).rejects.toMatchObject({ code: 'MEMORY_LIMIT' });
    const broken = smallModel((name, values) => {
      if (name === Q(1)) values[5] = Infinity;
    });
    await expect(decomposeTransform({ method: 'cp', rank: 2 }).apply(broken, context())).rejects.toMatchObject({
      code: 'WEIGHT_NOT_FINITE',
      details: { tensor: Q(1) },
    });
  });

  it('refuses options that contradict each other', () => {
    const refused = (options: unknown, message: RegExp) =>
      expect(() => decomposeTransform(options as DecomposeOptions)).toThrow(message);
    refused({ method: 'tucker' }, /ratio.*or ranks must be given/);
    refused({ method: 'tucker', ratio: 0.5, ranks: [1, 1, 1] }, /contradicts ranks/);
    refused({ method: 'cp', rank: 0 }, /rank/);
    refused({ method: 'cp', rank: 3, stck: 'heads' }, /stck.*did you mean stack/);
    refused({ method: 'cp', rank: 3, stack: 'rows' }, /stack/);
  });
});
