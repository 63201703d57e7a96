// Artefacts in the formats of other tools: the codes that a method made are the same in every format that holds them.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpoint } from '@pith/checkpoint/node';
import type { QuantizedWeight } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { plan } from '../plan/plan.ts';
import { readReceipt } from '../receipt/receipt.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { verify } from '../verify/verify.ts';
import { compress } from './compress.ts';
import { quantize, type QuantizeRunOptions } from './quantize.ts';

let root: string;
let model: string;
let ids: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'pith-formats-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 2, hidden: 64, feedForward: 96, vocabulary: 64 });
  ids = join(root, 'ids.json');
  const { writeFileSync } = await import('node:fs');
  writeFileSync(ids, JSON.stringify(Array.from({ length: 600 }, (_, i) => (7 * i * i + 3 * i) % 64)));
});
afterAll(() => rmSync(root, { recursive: true }));

const calibrated = () => ({ calibration: { text: ids, samples: 4, context: 32 } });

/** Restored values of the quantized weights of an artefact. */
async function valuesOf(directory: string) {
  const checkpoint = await openCheckpoint(directory);
  const values = new Map<string, Float32Array>();
  for (const weight of checkpoint.weights.values()) {
    if (weight.kind === 'quantized') values.set(weight.name, await weight.toF32());
  }
  await checkpoint.close();
  return values;
}

describe('the same codes in other formats', () => {
  it.each([
    ['gptq', 'rtn', 'w4g32', {}],
    ['gptq', 'rtn', 'w3-asym', {}],
    ['gptq', 'rtn', 'w8g32', {}],
    ['gptq', 'rtn', 'w2g32-asym', {}],
    ['awq', 'rtn', 'w4g32-asym', {}],
    ['awq', 'rtn', 'w4g32', {}],
    ['gptq', 'gptq', 'w4g32', { actOrder: 'weight' }],
    ['awq', 'awq', 'w4g32-asym', { gridPoints: 4 }],
  ] as const)('%s by %s, %s', async (format, method, scheme, options) => {
    const name = `${format}-${method}-${scheme}`;
    const common = { method, scheme, ...options, threads: 1, ...(method === 'rtn' ? {} : calibrated()) };
    const expectedBytes = await plan(model, { ...common, format });
    const result = await quantize(model, { ...common, format, output: join(root, name) });
    expect(result.bytesAfter).toBe(expectedBytes.bytesAfter);
    await quantize(model, { ...common, scaleDType: 'f16', output: join(root, `${name}-ct`) });
    const [own, other] = [await valuesOf(join(root, name)), await valuesOf(join(root, `${name}-ct`))];
    expect([...own.keys()].sort()).toEqual([...other.keys()].sort());
    expect(own.size).toBe(14);
    for (const [weight, values] of own) {
      // compressed-tensors rounds values to the dtype of the scales, f16.
      const restored = other.get(weight)!;
      const wrong = values.findIndex(
        (value, i) => Math.abs(value - restored[i]!) > 2 ** -11 * Math.abs(value) + 2 ** -25,
      );
      expect(wrong, weight).toBe(-1);
    }
    expect(await verify(join(root, name))).toMatchObject({ ok: true });
    const receipt = await readReceipt(join(root, name));
    expect(receipt.output.format).toBe(format);
    const sizes = receipt.weights.map(({ name: weight, bytesAfter }) => [weight, bytesAfter]);
    expect(sizes).toEqual(expectedBytes.tensors.map(({ name: weight, bytesAfter }) => [weight, bytesAfter]));
    const said = JSON.parse(readFileSync(join(root, name, 'config.json'), 'utf8')) as Record<string, object>;
    expect(said['quantization_config']).toMatchObject({ quant_method: format });
    expect(JSON.parse(readFileSync(join(root, name, 'quantize_config.json'), 'utf8'))).toEqual(
      said['quantization_config'],
    );
  });

  it('gptq holds act-order, which awq and compressed-tensors refuse in the plan', async () => {
    const options = { method: 'gptq', scheme: 'w4g32', actOrder: 'group', threads: 1, ...calibrated() } as const;
    for (const format of ['awq', 'compressed-tensors']) {
      const { problems } = await plan(model, { ...options, format });
      if (format === 'awq') expect(problems).toHaveLength(14);
    }
    await quantize(model, { ...options, format: 'gptq', output: join(root, 'act-order') });
    const checkpoint = await openCheckpoint(join(root, 'act-order'));
    const weights = [...checkpoint.weights.values()].filter((weight) => weight.kind === 'quantized');
    expect(weights.every((weight: QuantizedWeight) => weight.groupIndex !== undefined)).toBe(true);
    expect(checkpoint.config['quantization_config']).toMatchObject({ desc_act: true, group_size: 32 });
    await checkpoint.close();
  });

  it('with some linears kept dense, by name', async () => {
    const options = { scheme: 'w4g32', ignore: ['model.layers.1.mlp.down_proj'] };
    await quantize(model, { ...options, format: 'gptq', output: join(root, 'kept-gptq') });
    await quantize(model, { ...options, format: 'awq', output: join(root, 'kept-awq') });
    const said = async (name: string) => {
      const { config, close } = await openCheckpoint(join(root, name));
      await close();
      return config['quantization_config'];
    };
    expect(await said('kept-gptq')).toMatchObject({
      dynamic: { '-:^model\\.layers\\.1\\.mlp\\.down_proj$': {} },
      lm_head: false,
    });
    expect(await said('kept-awq')).toMatchObject({
      modules_to_not_convert: ['model.layers.1.mlp.down_proj', 'lm_head'],
    });
  });
});

describe('what a format cannot hold', () => {
  const problemsOf = async (options: Partial<QuantizeRunOptions>) => (await plan(model, options)).problems;

  it('is in the plan, every weight of it', async () => {
    const five = await problemsOf({ scheme: 'w5g32', format: 'gptq' });
    expect(five.filter(({ code }) => code === 'GPTQ_SCHEME_UNSUPPORTED')).toHaveLength(14);
    const three = await problemsOf({ scheme: 'w3g32', format: 'awq' });
    expect(three.filter(({ code }) => code === 'AWQ_SCHEME_UNSUPPORTED')).toHaveLength(14);
    const active = await problemsOf({ scheme: 'w8a8', format: 'gptq' });
    expect(active[0]!.message).toContain('says nothing of activations');
    const float = await problemsOf({ scheme: 'fp8-a16', format: 'gptq' });
    expect(float[0]!.message).toContain('integer codes, got floating-point codes');
    const head = await problemsOf({ scheme: 'w4g32', format: 'awq', include: ['q_proj', 'lm_head'] });
    expect(head.map(({ name }) => name)).toEqual(['lm_head.weight']);
    expect(await problemsOf({ scheme: 'w4g32', format: 'gptq', include: ['q_proj', 'lm_head'] })).toEqual([]);
  });

  it('as a whole: several schemes in one configuration, by name', async () => {
    const recipe = {
      version: 1,
      stages: [
        { quantize: { method: 'rtn', scheme: 'w4g32', include: ['q_proj', 'k_proj'] } },
        { quantize: { method: 'rtn', scheme: 'w8g32', include: ['v_proj'] } },
      ],
      output: { format: 'gptq' },
    } as const;
    await expect(compress(model, { recipe, output: join(root, 'mixed') })).rejects.toThrow(
      /one configuration describes all weights, most are w4g32, got also model\.layers\.0\.self_attn\.v_proj\.weight \(w8g32\)/,
    );
  });
});

describe('a model that is quantized already', () => {
  it('is quantized again, and the plan says so', async () => {
    const source = join(root, 'once');
    await quantize(model, { scheme: 'w4g32', format: 'gptq', output: source });
    const made = await plan(source, { scheme: 'w8', format: 'awq' });
    expect(made.notices.join()).toContain('gptq w4g32');
    await quantize(source, { scheme: 'w8', output: join(root, 'twice') });
    const receipt = await readReceipt(join(root, 'twice'));
    expect(receipt.notices!.join()).toContain('quantized again');
    const config = JSON.parse(readFileSync(join(root, 'twice', 'config.json'), 'utf8')) as Record<string, object>;
    expect(config['quantization_config']).toMatchObject({ quant_method: 'compressed-tensors' });
  });
});
