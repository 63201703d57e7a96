import type { Device } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planned, runPasses, tinyFactoredModel, tinyModel } from '../testing/tiny-model.fixture.ts';
import { rtnPass } from './pass.ts';
import { quantizeWeight } from './quantize-weight.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

const NAME = 'model.layers.0.mlp.down_proj.weight';

describe('rtnPass', () => {
  it('rounds as quantizeWeight does, factors too', async () => {
    const model = tinyFactoredModel(NAME);
    const pass = rtnPass({ scheme: 'w4g8', range: 'mse', ignore: ['k_proj'] });
    const result = await runPasses(model, [pass], { device, pool });
    for (const { name, path } of model.architecture.blocks[0]!.linears) {
      const [before, after] = [model.weights.get(name)!, result.model.weights.get(name)!];
      if (path.endsWith('k_proj')) expect(after).toBe(before);
      else if (before.kind === 'factored' && after.kind === 'factored') {
        for (const side of ['left', 'right'] as const) {
          if (before[side].kind !== 'dense') throw new Error('made dense');
          const expected = await quantizeWeight(before[side], { scheme: 'w4g8', range: 'mse' });
          expect(await after[side].toF32()).toEqual(await expected.weight.toF32());
        }
      } else if (before.kind === 'dense' && after.kind === 'quantized') {
        const expected = await quantizeWeight(before, { scheme: 'w4g8', range: 'mse' });
        expect(await after.block()).toEqual(await expected.weight.block());
        expect(result.outcomes[0]!.records[0]!.records[name]!['mse']).toBe(expected.error.mse);
      } else throw new Error(`${name} became ${after.kind}`);
    }
  });

  it('plans exactly the bytes that come out', async () => {
    for (const scheme of ['w4g8-asym', 'w8a8', 'fp8', 'w3']) {
      const model = tinyFactoredModel(NAME);
      const pass = rtnPass({ scheme });
      const { changes, problems } = pass.plan(planned(model));
      expect(problems).toEqual([]);
      expect(changes).toHaveLength(14);
      const result = await runPasses(model, [pass], { device, pool });
      for (const { name, after } of changes) {
        const weight = result.model.weights.get(name)!;
        expect([name, after!.kind, after!.byteLength]).toEqual([name, weight.kind, weight.byteLength]);
      }
    }
  });

  it('finds static activation scales from the range of the inputs', async () => {
    const { outcomes } = await runPasses(tinyModel('bf16'), [rtnPass({ scheme: 'w8a8-static-aasym' })], {
      device,
      pool,
    });
    for (const { block, weights } of outcomes) {
      for (const { name } of block.linears) {
        const weight = weights.get(name)!;
        const activations = weight.kind === 'quantized' ? weight.activations : undefined;
        if (activations?.kind !== 'tensor-static') throw new Error(`${name} has no static scale`);
        // The range contains 0, which has a code of its own.
        expect(activations.zeroPoint).toBeGreaterThan(-128);
        expect(activations.zeroPoint).toBeLessThan(127);
        expect(activations.scale).toBeGreaterThan(0);
      }
    }
  });

  it('refuses what does not fit, all at once', () => {
    const model = tinyFactoredModel(NAME);
    const { problems } = rtnPass({ scheme: 'w4g32', include: ['lm_head', 'o_proj', 'down_proj', 'nothing'] }).plan(
      planned(model),
    );
    expect(problems.map(({ code, name }) => [code, name])).toEqual([
      ['HEAD_OUTSIDE_BLOCKS', 'lm_head'],
      ['PATTERN_MATCHES_NOTHING', 'nothing'],
      ['GROUP_DOES_NOT_DIVIDE', NAME],
      ['GROUP_DOES_NOT_DIVIDE', NAME],
      ['GROUP_DOES_NOT_DIVIDE', 'model.layers.1.mlp.down_proj.weight'],
    ]);
    const again = rtnPass({ scheme: 'w8a8-static' }).plan(planned(model)).problems;
    expect(again.map(({ code }) => code)).toEqual(['STATIC_ACTIVATIONS_FACTORED']);
    const { problems: ofInputs } = rtnPass({ scheme: 'fp8-block' }).plan(planned(model));
    expect(ofInputs.length).toBeGreaterThan(0);
    expect(ofInputs.every(({ code }) => code === 'GROUP_DOES_NOT_DIVIDE')).toBe(true);
    expect(ofInputs[0]!.message).toMatch(/groups of 128 inputs do not divide; leave inputs alone/);
    const twice = { ...planned(model), weights: new Map(planned(model).weights) };
    const name = 'model.layers.0.mlp.up_proj.weight';
    twice.weights.set(name, { ...twice.weights.get(name)!, kind: 'sparse' });
    expect(rtnPass({ scheme: 'w4' }).plan(twice).problems).toMatchObject([
      { code: 'REPRESENTATION_NOT_QUANTIZABLE', name },
    ]);
  });

  it('refuses options that are wrong, all at once', () => {
    expect(() => rtnPass({ scheme: 'w44', rnge: 'mse', include: ['a..b'] } as never)).toThrow(
      /^rtn options: scheme: parse scheme: .*include\[0\]: module pattern .*rnge: unknown, did you mean range\?/,
    );
  });
});
