import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quantize } from '../run/quantize.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { verify } from '../verify/verify.ts';
import { plan, preparePlan } from './plan.ts';

let root: string;
let model: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-plan-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 2, hidden: 128, feedForward: 384, vocabulary: 256 });
});
afterAll(() => rmSync(root, { recursive: true }));

describe('plan', () => {
  it('says what becomes of each tensor and why', async () => {
    const made = await plan(model, { scheme: 'w4g128' });
    const by = new Map(made.tensors.map((tensor) => [tensor.name, tensor]));
    expect(made.tensors).toHaveLength(2 * 9 + 3);
    // 4 bits for 384 x 128 codes, one bf16 scale a row, the shape in two int64.
    expect(by.get('model.layers.1.mlp.up_proj.weight')).toEqual({
      name: 'model.layers.1.mlp.up_proj.weight',
      action: 'quantize',
      reason: 'linear layer (up)',
      bytesBefore: 384 * 128 * 2,
      bytesAfter: (384 * 128) / 2 + 384 * 2 + 16,
    });
    expect(by.get('lm_head.weight')).toMatchObject({ action: 'keep', bytesBefore: 65_536, bytesAfter: 65_536 });
    expect(by.get('lm_head.weight')!.reason).toContain('output projection');
    expect(by.get('model.embed_tokens.weight')!.reason).toContain('embedding');
    expect(by.get('model.norm.weight')!.reason).toContain('norm');
    // 4 bits, 16 for 128, and the shapes.
    expect(made.quantizedBitsPerWeight).toBeGreaterThan(4 + 16 / 128);
    expect(made.quantizedBitsPerWeight).toBeLessThan(4.14);
  });

  it('lists everything that does not fit, of every kind, at once', async () => {
    const made = await plan(model, { scheme: 'w4g96', ignore: ['no_such_module'], memoryBytes: 1000 });
    const codes = made.problems.map(({ code }) => code);
    expect(codes.filter((code) => code === 'GROUP_DOES_NOT_DIVIDE')).toHaveLength(12);
    expect(codes).toContain('PATTERN_MATCHES_NOTHING');
    expect(codes).toContain('MEMORY_TOO_SMALL');
    // 384 = 4 * 96 fits, 128 does not.
    expect(made.problems.some(({ name }) => name.includes('down_proj'))).toBe(false);
  });

  it('refuses in the plan what the format cannot hold', async () => {
    const { problems } = await plan(model, { scheme: 'fp8-e5m2' });
    expect(problems).toHaveLength(14);
    expect(problems[0]).toMatchObject({
      code: 'CT_SCHEME_UNSUPPORTED',
      name: expect.stringContaining('proj') as string,
    });
  });

  it('has the same hash for the same job, and another for any other', async () => {
    const hash = async (options: object): Promise<string> => (await preparePlan(model, options)).sha256;
    const base = await hash({ scheme: 'w4g128' });
    expect(await hash({ scheme: 'w4-g128', threads: 7, memoryBytes: 1e12 })).toBe(base);
    for (const other of [
      { scheme: 'w4g64' },
      { range: 'mse' },
      { ignore: ['down_proj'] },
      { shardBytes: 1e5 },
      { seed: 1 },
    ]) {
      expect(await hash({ scheme: 'w4g128', ...other }), JSON.stringify(other)).not.toBe(base);
    }
  });

  it('names unknown options and bad values together', async () => {
    await expect(plan(model, { method: 'gtpq', format: 'ggfu' })).rejects.toThrow(/method: .*; format: /);
  });
});

describe('tensors that are not those of config.json', () => {
  /** A model of 2 layers whose config says something else, and whose header has another name for a tensor. */
  function strange(name: string, said: object, [from, to] = ['', '']): string {
    const directory = join(root, name);
    writeSyntheticModel(directory, { layers: 2, hidden: 64, feedForward: 128, vocabulary: 64 });
    const config = join(directory, 'config.json');
    writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, 'utf8')), ...said }));
    const file = join(directory, 'model.safetensors');
    writeFileSync(file, readFileSync(file, 'latin1').replace(from!, to!), 'latin1');
    return directory;
  }

  it('are problems, each by its name', async () => {
    const { problems } = await plan(strange('headless', {}, ['lm_head', 'my_head']), { scheme: 'w4g32' });
    expect(problems.map(({ code, name }) => [code, name])).toEqual([
      ['TENSOR_MISSING', 'lm_head.weight'],
      ['TENSOR_UNEXPECTED', 'my_head.weight'],
    ]);
    const short = await plan(strange('short', { num_hidden_layers: 1 }), { scheme: 'w4g32' });
    expect(short.problems).toHaveLength(9);
    expect(short.problems.every(({ name }) => name.startsWith('model.layers.1.'))).toBe(true);
    const narrow = await plan(strange('narrow', { vocab_size: 63 }), { scheme: 'w4g32' });
    expect(narrow.problems.map(({ code, name }) => [code, name])).toEqual([
      ['SHAPE_UNEXPECTED', 'model.embed_tokens.weight'],
      ['SHAPE_UNEXPECTED', 'lm_head.weight'],
    ]);
  });

  it('are said once where rounding says so too', async () => {
    const { problems } = await plan(strange('long', { num_hidden_layers: 3 }), { scheme: 'w4g32' });
    expect(problems.map(({ code }) => code)).toEqual(Array.from({ length: 9 }, () => 'TENSOR_MISSING'));
    expect(new Set(problems.map(({ name }) => name)).size).toBe(9);
  });

  it('are refused by a run, which writes nothing', async () => {
    const output = join(root, 'headless-out');
    const source = strange('headless-run', {}, ['lm_head', 'my_head']);
    await expect(quantize(source, { output, scheme: 'w4g32' })).rejects.toThrow('lm_head.weight');
    expect(existsSync(output)).toBe(false);
  });
});

/** A synthetic model whose config ties the head, which is stored nevertheless. */
function writeTied(name: string, same: boolean): string {
  const directory = join(root, name);
  writeSyntheticModel(directory, { layers: 1, hidden: 64, feedForward: 128, vocabulary: 64 });
  const config = join(directory, 'config.json');
  writeFileSync(
    config,
    readFileSync(config, 'utf8').replace('"tie_word_embeddings": false', '"tie_word_embeddings": true'),
  );
  if (!same) return directory;
  const file = join(directory, 'model.safetensors');
  const bytes = readFileSync(file);
  const head = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, head)) as Record<string, { data_offsets: [number, number] }>;
  const [from, end] = header['model.embed_tokens.weight']!.data_offsets;
  bytes.copy(bytes, head + header['lm_head.weight']!.data_offsets[0], head + from, head + end);
  writeFileSync(file, bytes);
  return directory;
}

describe('tied embeddings', () => {
  it('that are stored twice are stored once', async () => {
    const source = writeTied('twice', true);
    const made = await plan(source, { scheme: 'w4g32' });
    expect(made.tensors.find(({ name }) => name === 'lm_head.weight')).toMatchObject({ action: 'omit', bytesAfter: 0 });
    await quantize(source, { output: join(root, 'twice-out'), scheme: 'w4g32' });
    expect(await verify(join(root, 'twice-out'))).toMatchObject({ ok: true });
  });

  it('that differ are kept apart, and the config says so', async () => {
    const source = writeTied('conflict', false);
    const prepared = await preparePlan(source, { scheme: 'w4g32' });
    expect(prepared.plan.tensors.find(({ name }) => name === 'lm_head.weight')).toMatchObject({ action: 'keep' });
    expect(JSON.parse(prepared.configText)).toMatchObject({
      tie_word_embeddings: false,
      quantization_config: { ignore: ['lm_head'] },
    });
  });
});

describe.skipIf(!hasShared)('plan of stories260k', () => {
  it('with groups of 64 names the five weights that do not fit, and what would', async () => {
    const { problems } = await plan(shared('models/stories260k'), { scheme: 'w4g64' });
    expect(problems.map(({ name }) => name)).toEqual(
      [0, 1, 2, 3, 4].map((i) => `model.layers.${i}.mlp.down_proj.weight`),
    );
    for (const { message } of problems) expect(message).toMatch(/172 columns.*groups of 4, 43, 86, 172 divide/);
  });
});
