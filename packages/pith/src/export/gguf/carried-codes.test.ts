// Models whose codes a GGUF file can hold as they are: carried over, not rounded again.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openModel } from '@pith/model/node';
import { fromF32, toF32 } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Receipt } from '../../receipt/types.ts';
import { quantize } from '../../run/quantize.ts';
import { byteTokenizer } from '../../testing/made-up-checkpoint.fixture.ts';
import { writeSyntheticModel } from '../../testing/synthetic-model.fixture.ts';
import { verify } from '../../verify/verify.ts';
import { exportModel, planExport } from '../export-model.ts';

let root: string;
let model: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-carried-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 1, hidden: 64, feedForward: 128, vocabulary: 64 });
  writeFileSync(join(model, 'tokenizer.json'), JSON.stringify(byteTokenizer(64)));
});
afterAll(() => rmSync(root, { recursive: true }));

/** Exports a model that is coded already; gives the plan, the receipt, and the pairs of weights by name. */
async function carried(source: string, type: string) {
  const output = `${source}-${type}.gguf`;
  const plan = await planExport(source, { format: `gguf:${type}` });
  await exportModel(source, { format: `gguf:${type}`, output, threads: 1 });
  expect(await verify(output)).toMatchObject({ ok: true });
  const receipt = JSON.parse(readFileSync(`${output}.receipt.json`, 'utf8')) as Receipt;
  const [before, after] = [await openModel(source), await openModel(output)];
  const pairs = [...before.weights].map(([name, weight]) => ({ name, weight, made: after.weights.get(name)! }));
  const close = async () => {
    await before.close();
    await after.close();
  };
  return { plan, receipt, pairs, close };
}

const zero = (values: Float32Array) => values.map((value) => value + 0);

describe('codes as they are', () => {
  it.each<[string, string, string, number]>([
    ['gptq:4g32', 'q4_0', 'w4g32', 7],
    ['gptq:4g64', 'q8_0', 'w4g64', 7],
    ['gptq:8g32', 'q8_0', 'w8g32', 7],
    ['awq:4g32', 'q8_0', 'w4g32-asym', 7],
    // MLX codes the embedding and the head, too; the head of the mixture is q8_0.
    ['mlx:mxfp4', 'mxfp4', 'mxfp4', 8],
  ])('%s as %s restores bit for bit', async (format, type, scheme, count) => {
    const source = join(root, format.replace(':', '-'));
    await exportModel(model, { format, output: source, threads: 1, overwrite: true });
    const { plan, receipt, pairs, close } = await carried(source, type);
    const exact = scheme === 'mxfp4' ? '' : '; scales as f16';
    const said = plan.tensors.filter(({ reason }) =>
      reason.endsWith(`${type}, codes of ${scheme} carried over, not rounded again${exact}`),
    );
    expect(said.map(({ action }) => action)).toEqual(Array<string>(count).fill('quantize'));
    const names = new Set(said.map(({ name }) => name));
    for (const { name, weight, made } of pairs.filter((pair) => names.has(pair.name))) {
      expect(weight.kind, name).toBe('quantized');
      expect(made, name).toMatchObject({ kind: 'packed', coding: type });
      expect(zero(await made.toF32()), name).toEqual(zero(await weight.toF32()));
    }
    const written = receipt.weights.filter(({ name }) => names.has(name));
    expect(written.filter(({ error }) => error !== undefined)).toEqual([]);
    expect(receipt.interventions).toEqual([]);
    const again = plan.notices.filter((notice) => notice.includes('quantized again'));
    expect(again.length).toBe(format.startsWith('mlx') ? 1 : 0);
    await close();
  });

  it('mxfp4 of compressed-tensors restores bit for bit', async () => {
    const source = join(root, 'ct-mxfp4');
    await quantize(model, { scheme: 'mxfp4', output: source, threads: 1 });
    const { pairs, receipt, close } = await carried(source, 'mxfp4');
    const coded = pairs.filter(({ weight }) => weight.kind === 'quantized');
    expect(coded.length).toBe(7);
    for (const { name, weight, made } of coded) {
      expect(zero(await made.toF32()), name).toEqual(zero(await weight.toF32()));
    }
    expect(receipt.interventions).toEqual([]);
    await close();
  });

  // The values of compressed-tensors are products rounded to the dtype of the scales; ggml's are not.
  it.each(['f16', 'bf16', 'f32'] as const)(
    'w4g32 under scales of %s is codes times scales in f16',
    async (scaleDType) => {
      const source = join(root, `ct-${scaleDType}`);
      await quantize(model, { scheme: 'w4g32', scaleDType, output: source, threads: 1 });
      const { pairs, plan, receipt, close } = await carried(source, 'q4_0');
      let inexact = 0;
      for (const { name, weight, made } of pairs) {
        if (weight.kind !== 'quantized') continue;
        const { codes, scales } = await weight.block();
        const half = toF32('f16', fromF32('f16', scales));
        inexact += half.filter((value, i) => value !== scales[i]).length;
        expect(zero(await made.toF32()), name).toEqual(Float32Array.from(codes, (code, i) => code * half[i >> 5]! + 0));
        const { error } = receipt.weights.find((one) => one.name === name)!;
        // Half a step of the dtype of the scales, which values have, too.
        const step = { f16: 2 ** -11, bf16: 2 ** -8, f32: 2 ** -11 }[scaleDType];
        expect(error?.maxError ?? 0, name).toBeLessThanOrEqual(8 * Math.max(...scales) * step);
      }
      const rounded = receipt.interventions.reduce((sum, { details }) => sum + (details['scales'] as number), 0);
      expect(rounded).toBe(inexact);
      expect(inexact > 0).toBe(scaleDType === 'f32');
      const reasons = plan.tensors.map(({ reason }) => reason).join();
      expect(reasons).toContain('q4_0, codes of w4g32 carried over, not rounded again');
      expect(reasons.includes('scales as f16')).toBe(scaleDType !== 'f16');
      await close();
    },
  );

  it('groups of another size, and other types, are rounded again, which the plan says', async () => {
    const source = join(root, 'ct-g16');
    await quantize(model, { scheme: 'w4g16', output: source, threads: 1 });
    const { notices, tensors } = await planExport(source, { format: 'gguf:q4_0' });
    expect(notices.join()).toContain('the source holds 7 quantized weights that are stored in another type');
    expect(tensors.map(({ reason }) => reason).join()).not.toContain('carried over');
  });
});
