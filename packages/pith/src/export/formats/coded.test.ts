import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpoint } from '@pith/checkpoint/node';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quantize } from '../../run/quantize.ts';
import { writeSyntheticModel } from '../../testing/synthetic-model.fixture.ts';
import { verify } from '../../verify/verify.ts';
import { exportModel, planExport } from '../export-model.ts';

let root: string;
let model: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-coded-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 1, hidden: 128, feedForward: 256, vocabulary: 64 });
});
afterAll(() => rmSync(root, { recursive: true }));

/** Signal to noise of an exported model's weights, least of all, in dB; and how many are coded. */
async function qualityOf(directory: string) {
  const [source, made] = [await openCheckpoint(model), await openCheckpoint(directory)];
  let least = Infinity;
  let coded = 0;
  for (const [name, weight] of made.weights) {
    const [a, b] = [await source.weights.get(name)!.toF32(), await weight.toF32()];
    let [signal, noise] = [0, 0];
    for (let i = 0; i < a.length; i += 1) {
      signal += a[i]! ** 2;
      noise += (a[i]! - b[i]!) ** 2;
    }
    if (weight.kind !== 'quantized') expect(noise, name).toBe(0);
    else least = Math.min(least, 10 * Math.log10(signal / noise));
    coded += Number(weight.kind === 'quantized');
  }
  await source.close();
  await made.close();
  return { least, coded };
}

describe('exports rounded as a format does it', () => {
  // Uniform noise of b bits over a range of a few sigma: about 6 dB for each bit.
  it.each([
    ['gptq', 7, 17],
    ['gptq:8g64', 7, 40],
    ['gptq:3', 7, 9],
    ['gptq:2g32-asym', 7, 4],
    ['awq:4g64', 7, 17],
    ['mlx:4', 9, 17],
    ['mlx:2g32', 9, 4],
    ['mlx:6g128', 9, 28],
    ['bitsandbytes', 7, 17],
    ['bitsandbytes:nf4-double', 7, 17],
    ['bitsandbytes:fp4', 7, 14],
  ])('%s', async (format, coded, least) => {
    const output = join(root, format.replace(':', '-'));
    const plan = await planExport(model, { format });
    expect(plan.problems).toEqual([]);
    const result = await exportModel(model, { format, output, threads: 1 });
    const weights = (await openCheckpoint(output)).weightFileBytes;
    expect(weights).toBe(plan.bytesAfter);
    expect(result.bytesAfter).toBeGreaterThan(weights);
    const quality = await qualityOf(output);
    expect(quality.coded).toBe(coded);
    expect(quality.least).toBeGreaterThan(least);
    expect(await verify(output)).toMatchObject({ ok: true });
  });

  it('keep the codes of a method, in another layout', async () => {
    const source = join(root, 'ct');
    await quantize(model, { scheme: 'w4g64', scaleDType: 'f16', output: source, threads: 1 });
    const values = async (directory: string) => {
      const checkpoint = await openCheckpoint(directory);
      const block = checkpoint.weight('model.layers.0.mlp.up_proj.weight');
      const found = block.kind === 'quantized' ? await block.block() : undefined;
      await checkpoint.close();
      return Int8Array.from(
        found!.codes,
        (code) => code + (block.kind === 'quantized' && block.scheme.kind === 'int' ? 8 : 0),
      );
    };
    const codes = await values(source);
    for (const format of ['gptq:4g64', 'awq:4g64', 'mlx:4']) {
      const output = join(root, `kept-${format.replace(':', '-')}`);
      const { tensors, notices } = await planExport(source, { format });
      const kept = tensors.find(({ name }) => name.endsWith('up_proj.weight'))!;
      expect(kept.reason).toBe('already quantized (w4g64); its codes are kept');
      expect(notices.join()).toContain('compressed-tensors w4g64');
      await exportModel(source, { format, output, threads: 1 });
      expect(await values(output), format).toEqual(codes);
    }
    const again = await planExport(source, { format: 'gptq:8g64' });
    expect(again.tensors.map(({ reason }) => reason).join()).toContain(
      'already quantized (w4g64); rounded as gptq does it, again',
    );
  });

  it.skipIf(!hasShared)('name every weight that does not fit, before anything is written', async () => {
    const { problems } = await planExport(shared('models/stories260k'), { format: 'mlx:4' });
    expect(problems.map(({ name }) => name)).toEqual(
      [0, 1, 2, 3, 4].map((i) => `model.layers.${i}.mlp.down_proj.weight`),
    );
    await expect(exportModel(model, { format: 'mlx:7', output: join(root, 'no') })).rejects.toMatchObject({
      code: 'FORMAT_VARIANT_UNKNOWN',
    });
  });

  it('say what loaders need', async () => {
    const said = (name: string) =>
      JSON.parse(readFileSync(join(root, name, 'config.json'), 'utf8')) as Record<string, Record<string, unknown>>;
    expect(said('mlx-4')['quantization']).toEqual({ bits: 4, group_size: 64, mode: 'affine' });
    expect(said('mlx-4')['quantization_config']).toEqual(said('mlx-4')['quantization']);
    expect(said('bitsandbytes-nf4-double')['quantization_config']).toMatchObject({
      bnb_4bit_use_double_quant: true,
      llm_int8_skip_modules: ['lm_head'],
      load_in_4bit: true,
    });
  });
});
