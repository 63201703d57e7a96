import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Recipe } from '../recipe/types.ts';
import { readReceipt } from '../receipt/receipt.ts';
import { fileHashes } from '../testing/files.fixture.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { verify } from '../verify/verify.ts';
import { evaluate } from '../evaluate/evaluate.ts';
import { compress, planRecipe, type CompressOptions } from './compress.ts';
import { distill, factorize, prune } from './stage-commands.ts';
import { quantize } from './quantize.ts';

let root: string;
let model: string;
let ids: string;
let output: string;
let count = 0;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-compress-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 3, hidden: 64, feedForward: 96, vocabulary: 64 });
  ids = join(root, 'ids.json');
  writeFileSync(ids, JSON.stringify(Array.from({ length: 600 }, (_, i) => (i * 37 + ((i * i) % 11)) % 64)));
});
afterEach(() => {
  rmSync(output, { recursive: true, force: true });
  rmSync(`${output}.pith-partial`, { recursive: true, force: true });
});
afterAll(() => rmSync(root, { recursive: true }));

const calibration = () => ({ text: ids, samples: 6, context: 16 });
/** Three stages: two that share a walk over the blocks, one that is a transform. */
const recipe = (): Recipe => ({
  version: 1,
  seed: 5,
  calibration: calibration(),
  stages: [
    { prune: { method: 'structure', neurons: 32 } },
    { id: 'low', factorize: { method: 'whitened-svd', ratio: 0.2 } },
    { quantize: { method: 'gptq', scheme: 'w4' } },
  ],
});
const run = (options: Partial<CompressOptions> = {}) => {
  output = join(root, `out-${count}`);
  return compress(model, { recipe: recipe(), output, ...options });
};

describe('compress', () => {
  it('carries out a recipe: what was planned is written, reads back and verifies', async () => {
    count++;
    const plan = await planRecipe(model, { recipe: recipe() });
    expect(plan.problems).toEqual([]);
    expect(plan.stages.map(({ id, kind, method, from }) => [id, kind, method, from])).toEqual([
      ['stage-1', 'prune', 'structure', 'source'],
      ['low', 'factorize', 'whitened-svd', 'stage-1'],
      ['stage-3', 'quantize', 'gptq', 'low'],
    ]);
    const up = plan.tensors.find(({ name }) => name === 'model.layers.1.mlp.up_proj.weight')!;
    expect(up.action).toBe('slice+factorize+quantize');
    expect(up.steps!.map(({ stage, shape }) => [stage, shape])).toEqual([
      ['stage-1', [64, 64]],
      ['low', [64, 64]],
      ['stage-3', [64, 64]],
    ]);
    const result = await run();
    expect(result.bytesAfter).toBe(plan.bytesAfter);
    expect(result.bitsPerWeight).toBe(plan.bitsPerWeight);
    expect(await verify(output)).toMatchObject({ ok: true });
    expect(JSON.parse(readFileSync(join(output, 'config.json'), 'utf8'))).toMatchObject({ intermediate_size: 64 });
    const receipt = await readReceipt(output);
    expect(receipt).toMatchObject({
      operation: 'compress',
      calibration: { windows: 6, context: 16, choose: 'first', seed: null, textTokens: 600 },
      run: { units: 1 + 3, resumedUnits: 0 },
    });
    expect(receipt.stages!.map(({ method }) => method)).toEqual(['structure', 'whitened-svd', 'gptq']);
    for (const { records } of receipt.stages!.slice(1)) expect(Object.keys(records)).toHaveLength(3 * 7);
    expect(await evaluate(output, { data: ids, context: 16 })).toMatchObject({ tokens: 600 - (600 % 15) });
    expect(existsSync(`${output}.pith-partial`)).toBe(false);
  });

  it('ends with the same bytes and the same seal for any number of threads', async () => {
    count++;
    await run({ threads: 1 });
    const [one, seal] = [fileHashes(output), (await readReceipt(output)).seal];
    rmSync(output, { recursive: true });
    await run({ threads: 3 });
    expect(fileHashes(output)).toEqual(one);
    expect((await readReceipt(output)).seal).toBe(seal);
  });

  it.each([1, 4, 9, 30])('continues after being stopped at event %i, with the same bytes', async (stopAt) => {
    count++;
    await run();
    const expected = fileHashes(output);
    rmSync(output, { recursive: true });
    const abort = new AbortController();
    let events = 0;
    await expect(
      run({ signal: abort.signal, progress: () => void (++events === stopAt && abort.abort()) }),
    ).rejects.toMatchObject({ code: 'STOPPED' });
    expect(existsSync(output)).toBe(false);
    await run();
    expect(fileHashes(output)).toEqual(expected);
    expect(readdirSync(root).filter((name) => name.includes('partial'))).toEqual([]);
  });

  it('does a block again that was damaged, and accepts a source whose time alone has changed', async () => {
    count++;
    await run();
    const expected = fileHashes(output);
    rmSync(output, { recursive: true });
    const abort = new AbortController();
    const stage = join(`${output}.pith-partial`, 'stages', 'stage-2');
    const progress = () => void (existsSync(join(stage, 'block-1.json')) && abort.abort());
    await expect(run({ signal: abort.signal, progress })).rejects.toMatchObject({ code: 'STOPPED' });
    const block = join(stage, 'block-0.safetensors');
    const bytes = readFileSync(block);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(block, bytes);
    utimesSync(join(model, 'model.safetensors'), new Date(), new Date());
    await run();
    expect(fileHashes(output)).toEqual(expected);
    expect((await readReceipt(output)).run.resumedUnits).toBe(2);
  });

  it('refuses to continue with other options', async () => {
    count++;
    const abort = new AbortController();
    await expect(
      run({ signal: abort.signal, progress: ({ phase }) => void (phase === 'calibrate' && abort.abort()) }),
    ).rejects.toMatchObject({ code: 'STOPPED' });
    await expect(run({ recipe: { ...recipe(), seed: 6 } })).rejects.toMatchObject({
      code: 'OUTPUT_UNFINISHED_DIFFERS',
    });
    await expect(run({ memoryBytes: 1e9 })).resolves.toMatchObject({ output });
  });

  it('starts from quantized, factored and sparse artefacts', async () => {
    count++;
    await run();
    const first = output;
    const second = join(root, 'second');
    await quantize(first, { output: second, scheme: 'w8' });
    expect((await verify(second)).ok).toBe(true);
    const sparse = join(root, 'sparse');
    const pruned = await prune(model, { method: 'magnitude', sparsity: 0.6, sparse: true, output: sparse });
    expect(pruned.bytesAfter).toBeLessThan(0.75 * pruned.bytesBefore);
    await quantize(sparse, { output: join(root, 'third'), scheme: 'w8' });
    const { notices } = await readReceipt(join(root, 'third'));
    expect(notices).toEqual([expect.stringContaining('21 sparse weights')]);
    for (const name of ['second', 'sparse', 'third']) rmSync(join(root, name), { recursive: true });
  });

  it('distils into layers of the teacher, and into a model of its own', async () => {
    count++;
    output = join(root, `out-${count}`);
    const training = { steps: 3, batchSize: 2, data: { text: ids, context: 16 } };
    await distill(model, { ...training, student: 'layers=0,2', output });
    expect(JSON.parse(readFileSync(join(output, 'config.json'), 'utf8'))).toMatchObject({ num_hidden_layers: 2 });
    const { stages } = await readReceipt(output);
    expect(stages![0]!.teachers).toEqual(['source']);
    expect(Object.keys(stages![0]!.records)).toContain('training');
    const again = join(root, 'again');
    await distill(model, { ...training, studentModel: output, output: again });
    expect((await readReceipt(again)).options).toMatchObject({ models: { student: expect.any(String) as string } });
    expect((await verify(again)).ok).toBe(true);
    rmSync(again, { recursive: true });
  });
});

describe('bad input', () => {
  const plan = async (given: Partial<Recipe>) =>
    (await planRecipe(model, { recipe: { ...recipe(), ...given } })).problems;

  it('is told before anything is written', async () => {
    count++;
    const { calibration: _, ...bare } = recipe();
    await expect(run({ recipe: bare })).rejects.toMatchObject({ code: 'PLAN_PROBLEMS' });
    expect(existsSync(`${output}.pith-partial`)).toBe(false);
  });

  it('calibration that is missing, or that nothing looks at', async () => {
    const { calibration: _, ...bare } = recipe();
    const missing = await planRecipe(model, { recipe: bare });
    expect(missing.problems).toMatchObject([
      { code: 'CALIBRATION_MISSING', message: expect.stringContaining('--calibration') as string },
    ]);
    expect(await plan({ stages: [{ quantize: { method: 'rtn', scheme: 'w4' } }] })).toMatchObject([
      { code: 'CALIBRATION_UNUSED' },
    ]);
  });

  it('problems of all stages come at once, with the stage', async () => {
    const problems = await plan({
      stages: [{ prune: { method: 'sparsegpt', pattern: '2:5' } }, { quantize: { method: 'gptq', scheme: 'w4g48' } }],
    });
    expect(problems.some(({ message }) => message.startsWith('stage-1 (prune sparsegpt): '))).toBe(true);
    expect(problems.filter(({ code }) => code === 'GROUP_DOES_NOT_DIVIDE').length).toBeGreaterThan(10);
  });

  it('teachers that are missing or have another vocabulary, before anything is written', async () => {
    count++;
    const other = join(root, 'other-vocabulary');
    writeSyntheticModel(other, { layers: 1, hidden: 64, feedForward: 96, vocabulary: 80 });
    const taught = { method: 'offline' as const, steps: 2, batchSize: 1 };
    const refused = async (stages: Recipe['stages']) => {
      const started = run({ recipe: { version: 1, models: { other }, calibration: calibration(), stages } });
      await expect(started).rejects.toMatchObject({ code: expect.any(String) as string });
      expect([existsSync(output), existsSync(`${output}.pith-partial`)]).toEqual([false, false]);
      return started.then(
        () => '',
        (error: { code: string; message: string }) => `${error.code} ${error.message}`,
      );
    };
    expect(await refused([{ distill: taught }])).toMatch(/^PLAN_PROBLEMS .*asks for a teacher, got none/s);
    expect(await refused([{ distill: taught, teacher: 'other' }])).toMatch(/^DISTILL_VOCABULARY .*80 \(teacher\)/);
  });

  it('options that contradict one another', async () => {
    output = join(root, 'never');
    await expect(factorize(model, { method: 'svd', rank: 2, ratio: 0.2, output })).rejects.toThrow(
      /ratio.*contradicts|rank.*contradicts/,
    );
    await expect(prune(model, { method: 'wanda', sparsity: 0.3, pattern: '2:4', output })).rejects.toThrow(
      /must be 0.5 with the pattern/,
    );
    await expect(prune(model, { method: 'wanda', sparsity: 1.5, output })).rejects.toMatchObject({ kind: 'input' });
    await expect(factorize(model, { method: 'svd', rank: 0, output })).rejects.toMatchObject({ kind: 'input' });
    expect(existsSync(output)).toBe(false);
  });

  it.each([
    ['empty', '', 'CALIBRATION_EMPTY'],
    ['too short', '[1,2,3]', 'CALIBRATION_TOO_SHORT'],
    ['one token', JSON.stringify(Array.from({ length: 400 }, () => 7)), 'CALIBRATION_ONE_TOKEN'],
    ['no ids', '{"a": 1}', 'TOKEN_IDS_INVALID'],
  ])('calibration text that is %s', async (name, content, code) => {
    const text = join(root, `${name}.json`);
    writeFileSync(text, content === '' ? '[]' : content);
    output = join(root, 'never');
    const given = { ...recipe(), calibration: { ...calibration(), text } };
    await expect(compress(model, { recipe: given, output })).rejects.toMatchObject({ code });
    expect(existsSync(`${output}.pith-partial`)).toBe(false);
  });

  it('memory that does not suffice', async () => {
    const { problems } = await planRecipe(model, { recipe: recipe(), memoryBytes: 1e6 });
    expect(problems).toMatchObject([{ code: 'MEMORY_TOO_SMALL' }]);
  });
});
