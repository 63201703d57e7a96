import { factoredWeight, factorNames, randomStream, type Device, type WeightTensor } from '@pith/tensor-core';
import { compile } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import type { LanguageModel, TransformContext } from '@pith/model';
import * as tf from '@tensorflow/tfjs-core';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryWeight, planned, tinyModel } from '../testing/tiny-model.fixture.ts';
import { fakeQuantize } from './fake-quantize.ts';
import { qatTransform } from './qat-transform.ts';
import type { QatOptions } from './qat-config.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

describe('fakeQuantize', () => {
  const random = randomStream(3, 'weights');
  const weight = Float32Array.from({ length: 2 * 8 }, () => 2.5 * random.normal());
  const dy = Float32Array.from({ length: 2 * 8 }, () => random.normal());
  const start = [0.5, 0.75, 1, 0.4];
  const step = [1, 1.1, 0.9, 1];
  const cases = [
    { zero: [0, 0, 0, 0], name: 'symmetric' },
    { zero: [1, -1, 0, 2], name: 'with zero points' },
  ];

  it.each(cases)('rounds, and has the gradients of LSQ: $name', async ({ zero }) => {
    const rounding = { lowest: -4, highest: 3, groups: 2 };
    const tensor = (shape: number[], data: ArrayLike<number>) =>
      ({ dtype: 'f32', shape, data: Float32Array.from(data) }) as const;
    const inputs = {
      w: tensor([2, 8], weight),
      step: tensor([2, 2], step),
      start: tensor([2, 2], start),
      zero: tensor([2, 2], zero),
      dy: tensor([2, 8], dy),
    };
    const program = await compile(
      (given) => {
        const of = (w: tf.Tensor, s: tf.Tensor) =>
          fakeQuantize(w as tf.Tensor2D, s as tf.Tensor2D, given['start'] as tf.Tensor2D, given['zero'] as tf.Tensor2D, rounding); // prettier-ignore
        const [gw, gs] = tf.grads((w: tf.Tensor, s: tf.Tensor) => tf.sum(tf.mul(of(w, s), given['dy']!)))([given['w']!, given['step']!]); // prettier-ignore
        return { value: of(given['w']!, given['step']!), gw: gw!, gs: gs! };
      },
      Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, { shape }])),
      device,
    );
    const { value, gw, gs } = await program.run(inputs);
    await program.dispose();
    const slopes = [0, 0, 0, 0];
    weight.forEach((w, i) => {
      const group = Math.floor(i / 4);
      const s = start[group]! * step[group]!;
      const at = w / s + zero[group]!;
      const code = Math.min(3, Math.max(-4, at));
      const floor = Math.floor(code);
      const rounded = code - floor === 0.5 ? floor + (floor % 2 === 0 ? 0 : 1) : Math.floor(code + 0.5);
      const inside = at >= -4 && at <= 3;
      expect((value!.data as Float32Array)[i]).toBeCloseTo((rounded - zero[group]!) * s, 5);
      expect((gw!.data as Float32Array)[i]).toBeCloseTo(inside ? dy[i]! : 0, 6);
      slopes[group]! += dy[i]! * (inside ? rounded - at : rounded - zero[group]!) * start[group]!;
    });
    slopes.forEach((slope, group) => {
      expect((gs!.data as Float32Array)[group]).toBeCloseTo(slope / Math.sqrt(4 * 3), 5);
    });
  });
});

const windows = Array.from({ length: 8 }, (_, w) => Int32Array.from({ length: 17 }, (_token, i) => (i === 0 ? 1 : 2 + ((3 * i + w) % 38)))); // prettier-ignore
const context = (more: Partial<TransformContext> = {}): TransformContext => ({
  device,
  pool,
  seed: 1,
  windows,
  ...more,
});
const UP = 'model.layers.0.mlp.up_proj.weight';

function withFactors(): LanguageModel {
  const model = tinyModel();
  const names = factorNames(UP);
  const values = (length: number) => Float32Array.from({ length }, (_, i) => 0.2 * Math.sin(i * i));
  const left = memoryWeight(names.left, [48, 8], values(384));
  const right = memoryWeight(names.right, [8, 32], values(256));
  return {
    ...model,
    weights: new Map<string, WeightTensor>(model.weights).set(UP, factoredWeight({ name: UP, left, right })),
  };
}

describe('qatTransform', () => {
  it('brings the rounded model nearer to the dense one, and gives the codes that it trained with', async () => {
    for (const scheme of ['w2', 'w2g8-asym']) {
      const model = tinyModel();
      const options: QatOptions = { scheme, steps: 40, learningRate: 3e-3, batchSize: 8 };
      const { weights, records } = await qatTransform(options).apply(model, context());
      const curve = records['training']!['curve'] as { loss: number }[];
      expect(curve.at(-1)!.loss, scheme).toBeLessThan(0.6 * curve[0]!.loss);
      for (const linear of model.architecture.blocks.flatMap((block) => block.linears)) {
        expect(weights.get(linear.name)).toMatchObject({ kind: 'quantized', scheme: { bits: 2 } });
      }
      // One more step from the quantized weights, as they are restored, begins where training ended.
      const dense = new Map(
        await Promise.all(
          [...weights].map(
            async ([name, weight]) => [name, memoryWeight(name, weight.shape, await weight.toF32())] as const,
          ),
        ),
      );
      const again = await qatTransform({ scheme: 'w8', steps: 1, learningRate: 1e-9, batchSize: 8 }).apply(
        { ...model, weights: dense },
        context({ teachers: [model] }),
      );
      const [first] = again.records['training']!['curve'] as { loss: number }[];
      expect(Math.abs(first!.loss / curve.at(-1)!.loss - 1), scheme).toBeLessThan(0.15);
    }
  });

  it('codes modules by the last pattern that matches, and refuses schemes that it cannot learn, with their pattern', async () => {
    const options: QatOptions = {
      ...{ scheme: 'w4', steps: 2, train: 'steps', batchSize: 4 },
      schemeFor: { down_proj: 'w3g8-asym', 'layers.1.mlp.down_proj': 'w8' },
    };
    const { weights } = await qatTransform(options).apply(tinyModel(), context());
    expect(weights.get('model.layers.0.mlp.up_proj.weight')).toMatchObject({ scheme: { bits: 4, symmetric: true } });
    expect(weights.get('model.layers.0.mlp.down_proj.weight')).toMatchObject({
      scheme: { bits: 3, symmetric: false, granularity: { kind: 'group', size: 8 } },
    });
    expect(weights.get('model.layers.1.mlp.down_proj.weight')).toMatchObject({ scheme: { bits: 8 } });
    expect(() => qatTransform({ ...options, schemeFor: { up_proj: 'fp8' } })).toThrow(
      /schemeFor\.up_proj.*integer codes/,
    );
  });

  it('trains what it is told to, factors too, towards the tokens if wanted, and resumes with the same codes', async () => {
    const model = withFactors();
    const options: QatOptions = {
      scheme: 'w4g8',
      steps: 4,
      train: 'steps',
      hard: 1,
      soft: 0,
      ignore: ['k_proj'],
      saveEvery: 1,
    };
    const directory = await mkdtemp(join(tmpdir(), 'pith-qat-'));
    try {
      const whole = await qatTransform(options).apply(model, context());
      expect(whole.weights.get(UP)).toMatchObject({
        kind: 'factored',
        left: { kind: 'quantized' },
        right: { kind: 'quantized' },
      });
      const untouched = [...model.weights.keys()].filter((name) => !(name in whole.records));
      for (const name of untouched) expect(whole.weights.get(name)).toBe(model.weights.get(name));
      expect(untouched.some((name) => name.includes('k_proj.weight'))).toBe(true);
      const stop = new AbortController();
      const stopped = qatTransform(options).apply(model, context({ directory, signal: stop.signal, progress: ({ done }) => void (done === 2 && stop.abort()) })); // prettier-ignore
      await expect(stopped).rejects.toMatchObject({ code: 'STOPPED' });
      const resumed = await qatTransform(options).apply(model, context({ directory }));
      for (const [name, weight] of whole.weights)
        expect(await resumed.weights.get(name)!.toF32()).toEqual(await weight.toF32());
      const linears = await qatTransform({ ...options, train: 'linears' }).apply(model, context());
      expect(linears.weights.get('model.norm.weight')).toBe(model.weights.get('model.norm.weight'));
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('plans the bytes that come out, and what is trained beside', async () => {
    const model = withFactors();
    const transform = qatTransform({ scheme: 'w3g8-asym', steps: 1, batchSize: 2 });
    const { changes, problems } = transform.plan(planned(model));
    expect(problems).toEqual([]);
    const { weights } = await transform.apply(model, context());
    for (const { name, after } of changes) {
      const weight = weights.get(name)!;
      expect([name, after!.kind, after!.byteLength]).toEqual([name, weight.kind, weight.byteLength]);
    }
    expect(changes.find(({ name }) => name === 'model.norm.weight')).toMatchObject({ action: 'train' });
    expect(qatTransform({ scheme: 'w3g7', steps: 1 }).plan(planned(model)).problems.length).toBeGreaterThan(10);
  });

  it.each([
    [{ scheme: 'w8a8', steps: 1 }, /rounds weights only, got w8a8/],
    [{ scheme: 'fp8-a16', steps: 1 }, /integer codes/],
    [{ scheme: 'w4-tensor', steps: 1 }, /each channel or group/],
    [
      { scheme: 'w4', steps: 0, temperature: 0, sof: 1 },
      /steps: .*temperature: must be more than 0, got 0.*sof: unknown/,
    ],
    [{ scheme: 'w4', steps: 1, soft: 0 }, /must not both be 0/],
  ] as [QatOptions, RegExp][])('refuses %j', (options, message) => {
    expect(() => qatTransform(options)).toThrow(message);
  });
});
