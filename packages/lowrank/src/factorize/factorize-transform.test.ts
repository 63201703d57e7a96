import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import type { Device } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planned, smallModel, WINDOWS } from '../testing/model.fixture.ts';
import { factorizeTransform } from './factorize-transform.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

/** Query matrices are nearly of rank 2, all others of full rank. */
const model = () =>
  smallModel((name, values) => {
    if (name.endsWith('q_proj.weight')) values.forEach((value, i) => (values[i] = i % 24 < 2 ? value : 1e-3 * value));
  });

describe('factorizeTransform', () => {
  it.each(['svd', 'whitened-svd'] as const)('%s keeps to the budget and takes where least is lost', async (method) => {
    const transform = factorizeTransform({ method, budget: 0.3 });
    expect(transform.calibrated).toBe(method !== 'svd');
    const plan = transform.plan(planned(model()));
    expect(plan.problems).toEqual([]);
    const { weights, records } = await transform.apply(model(), { device, pool, seed: 0, windows: WINDOWS });
    const linears = model().architecture.blocks.flatMap((block) => block.linears);
    let [before, after] = [0, 0];
    for (const { name, outFeatures, inFeatures } of linears) {
      before += outFeatures * inFeatures;
      after += weights.get(name)!.byteLength / 4;
    }
    expect(after).toBeLessThanOrEqual(0.7 * before);
    // No more is left over than the dearest single step takes.
    expect(after).toBeGreaterThan(0.7 * before - 64);
    const rank = (name: string) => records[name]?.['rank'] ?? null;
    for (const layer of [0, 1, 2]) expect(rank(`model.layers.${layer}.self_attn.q_proj.weight`)).toBe(2);
  });

  it('refuses a budget below rank 1 everywhere, and none', () => {
    const { problems } = factorizeTransform({ method: 'svd', budget: 0.99 }).plan(planned(model()));
    expect(problems).toMatchObject([{ code: 'BUDGET_TOO_SMALL', name: 'budget' }]);
    expect(() => factorizeTransform({ method: 'svd', ratio: 0.2 })).toThrow(/without it use factorizePass/);
  });
});
