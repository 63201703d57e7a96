import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gptq } from '@pith/checkpoint';
import { openCheckpoint, saveCheckpoint } from '@pith/checkpoint/node';
import { openModel } from '@pith/model/node';
import { denseWeight, memoryBytes, quantizedWeight, type WeightTensor } from '@pith/tensor-core';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inspect } from '../../inspect/inspect.ts';
import { plan } from '../../plan/plan.ts';
import { quantize } from '../../run/quantize.ts';
import { writeSyntheticModel } from '../../testing/synthetic-model.fixture.ts';
import { verify } from '../../verify/verify.ts';
import { exportModel, planExport } from '../export-model.ts';

let root: string;
let model: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-export-ct-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 1, hidden: 128, feedForward: 256, vocabulary: 64 });
});
afterAll(() => rmSync(root, { recursive: true }));

const format = 'compressed-tensors';

/** Everything that a checkpoint says of its weights: codes, scales, zero points, order of columns, and restored values. */
async function contentOf(directory: string) {
  const checkpoint = await openCheckpoint(directory);
  const found: Record<string, unknown> = {};
  for (const name of [...checkpoint.weights.keys()].sort()) {
    const weight = checkpoint.weight(name);
    const values = await weight.toF32();
    if (weight.kind !== 'quantized') found[name] = { kind: weight.kind, values };
    else {
      const { scheme, groupIndex } = weight;
      const { codes, scales, zeroPoints } = await weight.block();
      found[name] = { kind: weight.kind, scheme, groupIndex, codes, scales, zeroPoints, values };
    }
  }
  await checkpoint.close();
  return found;
}

/** Exports, and holds the result to its plan and its source. */
async function keeps(source: string, output: string, coded: number): Promise<void> {
  const plan = await planExport(source, { format });
  expect(plan.problems).toEqual([]);
  const kept = plan.tensors.filter(({ reason }) =>
    /^already quantized \(\w+(-asym)?\); its codes are kept$/.test(reason),
  );
  expect(kept).toHaveLength(coded);
  await exportModel(source, { format, output });
  const opened = await openCheckpoint(output);
  expect(opened.quantization?.method).toBe('compressed-tensors');
  expect(opened.weightFileBytes).toBe(plan.bytesAfter);
  await opened.close();
  const [before, after] = [await contentOf(source), await contentOf(output)];
  expect(after).toEqual(before);
  expect(Object.values(after).filter((one) => (one as { kind: string }).kind === 'quantized')).toHaveLength(coded);
  expect(await verify(output)).toMatchObject({ ok: true });
}

describe('export to compressed-tensors', () => {
  it.skipIf(!hasShared).each(['gptq', 'awq'])('keeps the codes of a golden %s checkpoint', async (name) => {
    await keeps(shared(`golden/${name}/checkpoint`), join(root, `golden-${name}`), 7);
  });

  it.each(['gptq:4g64-asym', 'gptq:8', 'gptq:3g32', 'awq:4g32'])('keeps codes of %s', async (from) => {
    const source = join(root, from.replace(':', '-'));
    await exportModel(model, { format: from, output: source });
    await keeps(source, `${source}-ct`, 7);
  });

  it('keeps its own: several schemes, and quantized inputs', async () => {
    for (const scheme of ['w4g64', 'w8a8', 'fp8', 'nvfp4', 'mxfp4']) {
      const source = join(root, scheme);
      await quantize(model, { scheme, output: source });
      await keeps(source, `${source}-ct`, 7);
      const said = (directory: string) =>
        (JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as Record<string, unknown>)[
          'quantization_config'
        ];
      expect(said(`${source}-ct`)).toEqual(said(source));
    }
  });

  it('keeps the order of columns that GPTQ grouped by importance', async () => {
    const inOrder = join(root, 'in-order');
    await exportModel(model, { format: 'gptq:4g32-asym', output: inOrder });
    const checkpoint = await openCheckpoint(inOrder);
    const weights = [...checkpoint.weights.values()].map((weight): WeightTensor => {
      if (weight.kind !== 'quantized') return weight;
      const { name, shape, scheme } = weight;
      const groups = shape[1]! / 32;
      const groupIndex = Int32Array.from({ length: shape[1]! }, (_, column) => (column * 5) % groups);
      return quantizedWeight({ name, shape, scheme, groupIndex, read: (start, end) => weight.block(start, end) });
    });
    const source = join(root, 'reordered');
    await saveCheckpoint(source, { format: gptq, configText: checkpoint.configText, weights, ignore: ['lm_head'] });
    await checkpoint.close();
    await keeps(source, `${source}-ct`, 7);
    const { quantization_config: said } = JSON.parse(readFileSync(join(`${source}-ct`, 'config.json'), 'utf8')) as {
      quantization_config: unknown;
    };
    expect(said).toMatchObject({
      version: '0.14.0',
      config_groups: { group_0: { format: 'pack-quantized', weights: { actorder: 'group', symmetric: false } } },
    });
  });

  it('keeps the scales of keys and values, which nothing else does, and says so', async () => {
    const plain = join(root, 'kv-plain');
    await quantize(model, { scheme: 'w4g64', output: plain });
    const checkpoint = await openCheckpoint(plain);
    const scale = (name: string, value: number): WeightTensor =>
      denseWeight({
        name: `model.layers.0.self_attn.${name}`,
        dtype: 'f32',
        shape: [1],
        source: memoryBytes(new Uint8Array(Float32Array.of(value).buffer)),
      });
    const weights = [...checkpoint.weights.values(), scale('k_scale', 0.5), scale('v_scale', 0.25)];
    const source = join(root, 'kv');
    const { configText } = checkpoint;
    await saveCheckpoint(source, {
      configText,
      weights,
      ignore: ['lm_head'],
      kvCache: { dtype: 'f8_e4m3', granularity: 'tensor' },
    });
    const before = await contentOf(plain);
    await checkpoint.close();

    // It opens as a model, without them.
    const opened = await openModel(source);
    expect([...opened.weights.keys()].some((name) => name.includes('_scale'))).toBe(false);
    await opened.close();
    expect(await contentOf(source)).toEqual(before);
    expect((await inspect(source)).quantization).toBe('compressed-tensors w4g64 (keys and values f8_e4m3, 2 scales)');
    const again = await plan(source, { scheme: 'w8' });
    expect(again.notices.join()).toMatch(/kv_cache_scheme, 2 scales.*the output has neither scheme nor scales/);
    await quantize(source, { scheme: 'w8', output: join(root, 'kv-again') });
    expect(Object.keys(await contentOf(join(root, 'kv-again')))).toEqual(Object.keys(before));

    const output = join(root, 'kv-ct');
    const { notices, problems, bytesAfter } = await planExport(source, { format });
    expect(problems).toEqual([]);
    expect(notices.join()).toMatch(/kv_cache_scheme, 2 scales.*carried over/);
    await exportModel(source, { format, output });
    const made = await openCheckpoint(output);
    expect(made.weightFileBytes).toBe(bytesAfter);
    expect(made.quantization?.kvCache).toEqual({
      dtype: 'f8_e4m3',
      granularity: 'tensor',
      scales: ['model.layers.0.self_attn.k_scale', 'model.layers.0.self_attn.v_scale'],
    });
    const stored = made.tensors.get('model.layers.0.self_attn.v_scale')!;
    expect(new Float32Array((await stored.source.read(0, 4)).slice().buffer)).toEqual(Float32Array.of(0.25));
    await made.close();
    expect(await contentOf(output)).toEqual(before);
    const dense = await planExport(source, { format: 'safetensors' });
    expect(dense.notices.join()).toContain('the output has neither scheme nor scales');
  });

  it('names every weight that it cannot hold, before anything is written', async () => {
    const source = join(root, 'mlx');
    await exportModel(model, { format: 'mlx:4', output: source });
    const { problems, tensors } = await planExport(source, { format });
    const coded = tensors.filter(({ reason }) => reason.startsWith('cannot be stored: '));
    expect(coded.map(({ name }) => name)).toEqual(problems.map(({ name }) => name));
    expect(problems).toHaveLength(9);
    expect(new Set(problems.map(({ code }) => code))).toEqual(new Set(['CT_SCHEME_UNSUPPORTED']));
    expect(problems[0]!.message).toMatch(/the format has no offsets in floating point/);
    await expect(exportModel(source, { format, output: join(root, 'no') })).rejects.toMatchObject({
      code: 'PLAN_PROBLEMS',
    });
  });

  it('names every weight with a zero point above the largest code', async () => {
    const source = join(root, 'zeros');
    await exportModel(model, { format: 'gptq:4g32-asym', output: join(root, 'sound') });
    const checkpoint = await openCheckpoint(join(root, 'sound'));
    const weights = [...checkpoint.weights.values()].map((weight): WeightTensor => {
      if (weight.kind !== 'quantized' || !/up_proj|o_proj/.test(weight.name)) return weight;
      const { name, shape, scheme } = weight;
      const read = async (start: number, end: number) => {
        const block = await weight.block(start, end);
        return { ...block, zeroPoints: block.zeroPoints!.fill(7) };
      };
      return quantizedWeight({ name, shape, scheme, read });
    });
    await saveCheckpoint(source, { format: gptq, configText: checkpoint.configText, weights, ignore: ['lm_head'] });
    await checkpoint.close();
    // As version 1, which stores them less 1, the same words are zero points of 16.
    const config = join(source, 'config.json');
    writeFileSync(config, readFileSync(config, 'utf8').replace('"gptq_v2"', '"gptq"'));
    const output = join(root, 'no-zeros');
    await expect(exportModel(source, { format, output })).rejects.toMatchObject({
      code: 'CT_ZERO_UNSUPPORTED',
      kind: 'input',
      details: {
        tensors: ['model.layers.0.mlp.up_proj.weight', 'model.layers.0.self_attn.o_proj.weight'],
      },
    });
    expect(existsSync(output)).toBe(false);
  });

  it('refuses a model in which nothing is compressed, and a variant', async () => {
    const { problems } = await planExport(model, { format });
    expect(problems).toMatchObject([{ code: 'NOTHING_COMPRESSED', message: /pith quantize/ }]);
    await expect(planExport(model, { format: `${format}:w4` })).rejects.toMatchObject({
      code: 'FORMAT_VARIANT_UNKNOWN',
    });
  });
});
