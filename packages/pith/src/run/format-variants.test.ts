// `--format NAME:VARIANT` of quantize and of recipes: the variant stands for the scheme of a method, or for the format's own rounding.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { schemeName } from '@pith/checkpoint';
import { openCheckpoint } from '@pith/checkpoint/node';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import type { QuantizedWeight } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportModel } from '../export/export-model.ts';
import { EXPORT_FORMATS } from '../export/formats.ts';
import { ROUNDING_FORMATS } from '../export/output-format.ts';
import { plan } from '../plan/plan.ts';
import { readReceipt } from '../receipt/receipt.ts';
import { FORMATS } from '../plan/quantize-config.ts';
import { checkRecipe } from '../recipe/read-recipe.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { verify } from '../verify/verify.ts';
import { compress, planRecipe } from './compress.ts';
import { quantize, type QuantizeRunOptions } from './quantize.ts';

let root: string;
let model: string;
let ids: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-variants-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 1, hidden: 64, feedForward: 96, vocabulary: 64 });
  ids = join(root, 'ids.json');
  writeFileSync(ids, JSON.stringify(Array.from({ length: 600 }, (_, i) => (7 * i * i + 3 * i) % 64)));
});
afterAll(() => rmSync(root, { recursive: true }));
const calibrated = () => ({ calibration: { text: ids, samples: 4, context: 32 } });
const at = (name: string) => join(root, name);

/** Coded weights of an artefact with the names of their schemes. */
async function codedOf(directory: string) {
  const checkpoint = await openCheckpoint(directory);
  const weights = [...checkpoint.weights.values()].filter((one): one is QuantizedWeight => one.kind === 'quantized');
  const blocks = new Map<string, Awaited<ReturnType<QuantizedWeight['block']>>>();
  for (const weight of weights) blocks.set(weight.name, await weight.block());
  const { config } = checkpoint;
  await checkpoint.close();
  return { schemes: new Map(weights.map(({ name, scheme }) => [name, schemeName(scheme)])), blocks, config };
}

describe('a variant without a method', () => {
  it.each(['mlx:4g32', 'mlx:mxfp8', 'bitsandbytes:nf4', 'gptq:4g32', 'hqq:4g32'])(
    '%s writes what an export writes',
    async (format) => {
      const [own, other] = [at(`own-${format.replace(':', '-')}`), at(`export-${format.replace(':', '-')}`)];
      const planned = await plan(model, { format });
      expect(planned.problems).toEqual([]);
      const result = await quantize(model, { format, output: own });
      await exportModel(model, { format, output: other });
      const bytes = (directory: string) => readFileSync(join(directory, 'model.safetensors'));
      expect(Buffer.compare(bytes(own), bytes(other))).toBe(0);
      expect(result).toMatchObject({ output: own, receipt: join(own, 'pith-receipt.json') });
      expect(result.bitsPerWeight).toBeCloseTo(planned.bitsPerWeight, 12);
      expect(await verify(own)).toMatchObject({ ok: true });
    },
  );

  it.skipIf(!hasShared)('gguf:q8_0 is a file, with its receipt beside it', async () => {
    const stories = shared('models/stories260k');
    const result = await quantize(stories, { format: 'gguf:q8_0', output: at('x.gguf') });
    expect(result.receipt).toBe(at('x.gguf.receipt.json'));
    expect(readFileSync(at('x.gguf')).subarray(0, 4).toString()).toBe('GGUF');
    expect((await plan(stories, { format: 'gguf:q8_0' })).problems).toEqual([]);
  });
});

describe('a variant with a method', () => {
  it('gptq into mlx:4g32: the codes that compressed-tensors gets, embedding and output as MLX rounds them', async () => {
    const options = { method: 'gptq', ...calibrated() };
    const planned = await plan(model, { ...options, format: 'mlx:4g32' });
    expect(planned.problems).toEqual([]);
    await quantize(model, { ...options, format: 'mlx:4g32', output: at('gptq-mlx') });
    await quantize(model, { ...options, scheme: 'w4g32-asym', output: at('gptq-ct') });
    await quantize(model, { format: 'mlx:4g32', output: at('rtn-mlx') });
    const [own, ct, rtn] = [await codedOf(at('gptq-mlx')), await codedOf(at('gptq-ct')), await codedOf(at('rtn-mlx'))];
    expect([...own.schemes.keys()].sort()).toEqual([...rtn.schemes.keys()].sort());
    expect(own.schemes.size - ct.schemes.size).toBe(2);
    for (const [name, block] of own.blocks) {
      const before = ct.blocks.get(name);
      if (before === undefined) expect(block, name).toEqual(rtn.blocks.get(name));
      else {
        expect(block.codes, name).toEqual(Uint8Array.from(before.codes, (code) => code + 8));
        expect(block.scales, name).toEqual(before.scales);
      }
    }
    expect(own.config['quantization']).toEqual({ group_size: 32, bits: 4, mode: 'affine' });
    const receipt = await readReceipt(at('gptq-mlx'));
    expect(receipt.output.format).toBe('mlx');
    expect(receipt.options).toMatchObject({ output: { format: 'mlx:4g32' } });
    const embedding = receipt.weights.find(({ name }) => name === 'model.embed_tokens.weight')!;
    expect(embedding).toMatchObject({
      action: 'quantize',
      reason: 'token embedding, rounded to nearest as mlx:4g32 has it',
    });
    expect(embedding.error!.snrDb).toBeGreaterThan(15);
    const sizes = receipt.weights.map(({ name, bytesAfter }) => [name, bytesAfter]);
    expect(sizes).toEqual(planned.tensors.map(({ name, bytesAfter }) => [name, bytesAfter]));
    expect(await verify(at('gptq-mlx'))).toMatchObject({ ok: true });
  });

  it.each([
    ['gptq:4g32', 'w4g32'],
    ['gptq:3g32-asym', 'w3g32-asym'],
    ['awq:4g32', 'w4g32-asym'],
    ['mlx:mxfp4', 'mxfp4'],
    ['hqq:4g32', 'w4g32-asym'],
  ])('%s stands for %s', async (format, scheme) => {
    const options = { range: 'mse', format, ...(scheme === 'mxfp4' && { include: ['*'] }) };
    const made = await plan(model, options);
    expect(made.problems).toEqual([]);
    expect(made.stages[0]).toMatchObject({ method: 'rtn', config: { scheme: { name: scheme } } });
  });

  it.each([
    [
      { format: 'mlx:4g32', scheme: 'w3g32' },
      'FORMAT_SCHEME_DIFFERS',
      /"mlx:4g32" stands for the scheme w4g32-asym, got w3g32/,
    ],
    [{ format: 'gptq:4g32', scheme: 'w8a8' }, 'FORMAT_SCHEME_DIFFERS', /leave one of the two out/],
    [{ format: 'mlx:nvfp4', method: 'gptq' }, 'FORMAT_HOLDS_NO_CODES', /no method makes its codes/],
    [
      { format: 'gguf:q4_k_m', method: 'gptq' },
      'FORMAT_HOLDS_NO_CODES',
      /gguf makes its blocks itself.*got also method gptq/,
    ],
    [{ format: 'bitsandbytes:nf4', scheme: 'w4g64' }, 'FORMAT_HOLDS_NO_CODES', /rounds to a table.*got also scheme/],
    [
      { format: 'onnx:q4', ignore: ['q_proj'] },
      'FORMAT_HOLDS_NO_CODES',
      /rounds while it is written.*ignore.*pith export/,
    ],
    [{ format: 'safetensors:f16' }, 'FORMAT_HOLDS_NO_CODES', /holds dense weights/],
    [{ format: 'mlx:7', method: 'gptq' }, 'FORMAT_VARIANT_UNKNOWN', /got "7"; known are 4, 2/],
    [{ format: 'compressed-tensors:4', method: 'gptq' }, 'FORMAT_VARIANT_UNKNOWN', /it has none, name a scheme/],
    [{ format: 'mlz:4', method: 'gptq' }, 'FORMAT_UNKNOWN', /did you mean mlx/],
  ])('%o is refused', async (options, code, message) => {
    const output = at('refused');
    for (const run of [
      () => plan(model, options),
      () => quantize(model, { ...options, output } as QuantizeRunOptions),
    ]) {
      const error = await run().then(
        () => undefined,
        (failure: unknown) => failure,
      );
      expect(error).toMatchObject({ code, kind: 'input', message: expect.stringMatching(message) as string });
    }
    expect(existsSync(output)).toBe(false);
  });
});

describe('a variant in a recipe', () => {
  const recipe = (scheme: string, format: string) =>
    ({
      version: 1,
      stages: [
        { prune: { method: 'magnitude', sparsity: 0.25 } },
        { quantize: { method: 'rtn', scheme, range: 'mse' } },
      ],
      output: { format },
    }) as const;

  it('codes what lies outside of the blocks, too', async () => {
    const planned = await planRecipe(model, { recipe: recipe('w4g32-asym', 'mlx:4g32') });
    expect(planned.problems).toEqual([]);
    await compress(model, { recipe: recipe('w4g32-asym', 'mlx:4g32'), output: at('recipe') });
    const { schemes } = await codedOf(at('recipe'));
    expect(schemes.size).toBe(9);
    expect(new Set(schemes.values())).toEqual(new Set(['mlx4g32']));
  });

  it('refuses stages with other codes, every weight by name', async () => {
    const { problems } = await planRecipe(model, { recipe: recipe('w8g32-asym', 'mlx:4g32') });
    expect(problems).toHaveLength(7);
    expect(problems[0]).toMatchObject({
      code: 'FORMAT_SCHEME_DIFFERS',
      message: expect.stringMatching(
        /codes must be those of the variant \(w4g32-asym\), got w8g32-asym.*\(mlx\)/,
      ) as string,
    });
  });

  it('names a format that stores codes', () => {
    expect(() => checkRecipe(recipe('w4g32', 'gguf:q4_0'))).toThrow(
      /must be one of compressed-tensors, gptq, awq, mlx, hqq/,
    );
  });
});

describe('hqq', () => {
  it('stores its offsets where they have a place, in its own format where none is named', async () => {
    const options = { method: 'hqq', scheme: 'w3g32-asym' };
    const { problems } = await plan(model, { ...options, format: 'compressed-tensors' });
    expect(problems).toHaveLength(7);
    expect(problems[0]!.message).toMatch(/no offsets in floating point; store it as mlx or hqq/);
    expect((await plan(model, { ...options, format: 'gptq' })).problems[0]!.message).toMatch(/store it as mlx or hqq/);
    await quantize(model, { ...options, format: 'mlx', output: at('hqq-mlx') });
    await quantize(model, { ...options, output: at('hqq-hqq') });
    const schemesOf = async (name: string) => [...new Set((await codedOf(at(name))).schemes.values())];
    expect(await schemesOf('hqq-mlx')).toEqual(['mlx3g32']);
    // Read back in another representation, the values are those of the codes.
    const checkpoint = await openCheckpoint(at('hqq-hqq'));
    const source = await openCheckpoint(model);
    const weight = checkpoint.weight('model.layers.0.mlp.up_proj.weight');
    expect(weight).toMatchObject({ kind: 'packed', coding: 'hqq3g32' });
    const [a, b] = [await source.weight(weight.name).toF32(), await weight.toF32()];
    const noise = a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
    const signal = a.reduce((sum, value) => sum + value ** 2, 0);
    expect(10 * Math.log10(signal / noise)).toBeGreaterThan(11);
    await checkpoint.close();
    await source.close();
    for (const name of ['hqq-mlx', 'hqq-hqq']) expect(await verify(at(name))).toMatchObject({ ok: true });
  });
});

it('every format is one that stores codes, or one that rounds by itself', () => {
  const known = [...FORMATS, ...Object.keys(ROUNDING_FORMATS)];
  expect(known.sort()).toEqual(EXPORT_FORMATS.map(({ name }) => name).sort());
});
