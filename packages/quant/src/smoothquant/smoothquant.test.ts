import { perplexity, type BlockPass } from '@pith/model';
import type { Device } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rtnPass } from '../rtn/pass.ts';
import { planned, runPasses, tinyModel, tinyWindows } from '../testing/tiny-model.fixture.ts';
import { foldScales } from '../smoothing/fold.ts';
import { smoothingSets } from '../smoothing/smoothing-sets.ts';
import { smoothquantPass } from './pass.ts';
import { columnMagnitudes, smoothingScales } from './scales.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

describe('scales', () => {
  it('by hand, dead features left alone', () => {
    const magnitudes = new Float64Array(3);
    columnMagnitudes(Float32Array.of(1, -4, 1, 0.5, 2, 1), magnitudes);
    expect([...magnitudes]).toEqual([1, 4, 1]);
    expect([...smoothingScales([16, 1, 0], magnitudes, 0.5)]).toEqual([4, 0.5, 1]);
    expect([...smoothingScales([16, 1, 0], magnitudes, 1)]).toEqual([16, 1, 1]);
  });
});

/** Makes every eighth feature behind a norm 40 times as large and its weights as much smaller: the same model. */
const outliers: BlockPass = {
  name: 'outliers',
  config: {},
  plan: () => ({ changes: [], problems: [], notices: [] }),
  needs: () => [],
  apply: async ({ block, weights: before }) => {
    const weights = new Map(before);
    for (const set of smoothingSets(block).filter(({ fold }) => fold.kind === 'norm')) {
      const scales = Float64Array.from({ length: set.inFeatures }, (_, i) => (i % 8 === 1 ? 1 / 40 : 1));
      await foldScales({ weights, set, scales, rounded: new Set() });
    }
    return { weights, records: {}, interventions: [] };
  },
};

describe('smoothquantPass', () => {
  it('moves outliers of the activations into the weights: W8A8 comes nearer to the dense model', async () => {
    const dense = (await runPasses(tinyModel(), [outliers], { device, pool })).model;
    const ids = Int32Array.from(tinyWindows(20).flatMap((window) => [...window.subarray(1)]));
    const options = { device, ids, context: 24 };
    const nll = async (model: typeof dense) => (await perplexity(model, options)).windowNll;
    const distance = async (pass: ReturnType<typeof rtnPass>) => {
      const { model } = await runPasses(dense, [pass], { device, pool });
      const [a, b] = [await nll(model), await nll(dense)];
      return a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
    };
    for (const scheme of ['w8a8', 'w8a8-static']) {
      const smoothed = await distance(smoothquantPass({ scheme }));
      expect([scheme, smoothed < (await distance(rtnPass({ scheme })))]).toEqual([scheme, true]);
    }
  });

  it('gives the static scale of the smoothed inputs: that of statistics taken after smoothing', async () => {
    const smoothed = await runPasses(tinyModel(), [smoothquantPass({ scheme: 'w8a8-static' })], {
      device,
      pool,
      inputs: 'original',
    });
    const dense = await runPasses(
      tinyModel(),
      [
        smoothquantPass({ scheme: 'w8a8', ignore: [] }),
        {
          ...rtnPass({ scheme: 'w8a8' }),
          apply: async (stage) => {
            for (const { name, inputGroup } of stage.linears) {
              const { absmax } = stage.statistics.get(inputGroup)!;
              const weight = smoothed.model.weights.get(name)!;
              const activations = weight.kind === 'quantized' ? weight.activations : undefined;
              if (activations?.kind !== 'tensor-static') throw new Error(`${name} has no static scale`);
              const largest = absmax!.reduce((a, b) => Math.max(a, b), 0);
              // What is collected after the first pass went through rounded weights: values are near, not the same.
              expect(Math.abs(activations.scale / (largest / 127.5) - 1)).toBeLessThan(0.02);
            }
            return { weights: new Map(), records: {}, interventions: [] };
          },
          needs: () => ['absmax'] as const,
        },
      ],
      { device, pool, inputs: 'original' },
    );
    expect(dense.outcomes).toHaveLength(2);
  });

  it('plans norms, or feeding linears as well; says where it is no use', () => {
    const scaled = (folds: 'norms' | 'all') =>
      smoothquantPass({ folds })
        .plan(planned(tinyModel()))
        .changes.filter(({ action }) => action === 'scale')
        .map(({ name }) => name.slice('model.layers.0.'.length))
        .slice(0, 3);
    expect(scaled('norms')).toEqual([
      'input_layernorm.weight',
      'post_attention_layernorm.weight',
      'input_layernorm.weight',
    ]);
    expect(scaled('all')).toEqual([
      'input_layernorm.weight',
      'self_attn.v_proj.bias',
      'post_attention_layernorm.weight',
    ]);
    expect(smoothquantPass({ scheme: 'w8' }).plan(planned(tinyModel())).notices).toMatchObject([
      expect.stringContaining('w8 leaves activations alone'),
    ]);
  });

  it('refuses options that are wrong, all at once', () => {
    expect(() => smoothquantPass({ alpha: 1.5, fold: 'all' } as never)).toThrow(
      /^smoothquant options: alpha: must be at most 1, got 1.5; fold: unknown, did you mean folds\?/,
    );
  });
});
