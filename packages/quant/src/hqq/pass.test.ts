import type { Device } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planned, runPasses, tinyFactoredModel, tinyModel } from '../testing/tiny-model.fixture.ts';
import { hqqPass } from './pass.ts';
import { roundHqq } from './round.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

const NAME = 'model.layers.0.mlp.down_proj.weight';

describe('hqqPass', () => {
  it.each(['w4g8-asym', 'w3g8-asym', 'w2g8-asym'])(
    'plans exactly the bytes and codes that come out: %s',
    async (scheme) => {
      const model = tinyFactoredModel(NAME);
      const pass = hqqPass({ scheme, schemeFor: { q_proj: 'w8g16-asym' } });
      const { changes, problems } = pass.plan(planned(model));
      expect(problems).toEqual([]);
      expect(changes).toHaveLength(14);
      const result = await runPasses(model, [pass], { device, pool });
      for (const { name, after } of changes) {
        const weight = result.model.weights.get(name)!;
        expect([name, after!.kind, after!.byteLength]).toEqual([name, weight.kind, weight.byteLength]);
        if (weight.kind === 'quantized') expect(after!.scheme).toEqual(weight.scheme);
      }
      const own = result.model.weights.get('model.layers.1.self_attn.q_proj.weight')!;
      expect(own.kind === 'quantized' && 'bits' in own.scheme && own.scheme.bits).toBe(8);
    },
  );

  it('rounds as roundHqq does and records the errors', async () => {
    const model = tinyModel();
    const result = await runPasses(model, [hqqPass({ scheme: 'w3g8-asym', ignore: ['k_proj'] })], {
      device,
      pool,
    });
    const before = model.weights.get(NAME)!;
    if (before.kind !== 'dense') throw new Error('made dense');
    const expected = roundHqq(before, { bits: 3, groupSize: 8 });
    const after = result.model.weights.get(NAME)!;
    expect(await after.toF32()).toEqual(await expected.toF32());
    expect(await after.toF32(3, 7)).toEqual(await expected.toF32(3, 7));
    const record = result.outcomes[0]!.records[0]!.records[NAME]!;
    const [a, b] = [await before.toF32(), await after.toF32()];
    const mse = a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0) / a.length;
    expect(record['mse']).toBeCloseTo(mse, 12);
    expect(record['signalToNoise']).toBeGreaterThan(10);
    const kept = 'model.layers.0.self_attn.k_proj.weight';
    expect(result.model.weights.get(kept)).toBe(model.weights.get(kept));
  });

  it.each([
    [{ scheme: 'w4g8' }, /scheme: must have zero points.*"w4g8"; name one like w4g64-asym/],
    [{ scheme: 'fp8' }, /scheme: must code weights as integers/],
    [{ scheme: 'w4-asym' }, /must have groups/],
    [{ scheme: 'w8a8-asym' }, /must leave activations alone/],
    [{ scheme: 'w4g8-asym', schemeFor: { q_proj: 'w4g8' } }, /schemeFor\.q_proj: must have zero points/],
    [{ scheme: 'w4g8-asym', norm: 1.5 }, /norm/],
    [{ scheme: 'w4g8-asym', iterations: 0 }, /iterations/],
  ])('refuses %o', (options, message) => {
    expect(() => hqqPass(options)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(() => hqqPass(options)).toThrow(message);
  });
});
