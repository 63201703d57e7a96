import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { planGguf, type GgufValue } from '@pith/checkpoint';
import { ggufTensors } from '@pith/model';
import { openModel } from '@pith/model/node';
import { randomStream } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readReceipt } from '../../receipt/receipt.ts';
import { sha256 } from '../../run/hash-tree.ts';
import { byteTokenizer } from '../../testing/made-up-checkpoint.fixture.ts';
import { writeSyntheticModel } from '../../testing/synthetic-model.fixture.ts';
import { exportModel, planExport } from '../export-model.ts';
import { readImportance } from './importance.ts';

let root: string;
let model: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-imatrix-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 1, hidden: 256, feedForward: 256 });
  writeFileSync(join(model, 'tokenizer.json'), JSON.stringify(byteTokenizer()));
});
afterAll(() => rmSync(root, { recursive: true }));

type Change = (name: string, columns: number) => { name?: string; columns?: number; square?: (at: number) => number };

/** A file for the matrices of the blocks, as llama-imatrix writes it: two tokens, squares that differ from column to column. */
async function imatrix(source: string, file: string, change: Change = () => ({})): Promise<string> {
  const opened = await openModel(source);
  const random = randomStream(5, 'imatrix');
  const tensors: { name: string; values: Float32Array }[] = [];
  for (const { name, shape } of ggufTensors(opened.architecture)) {
    if (!/^blk.*(attn|ffn)_(?!norm).*weight$/.test(name) || shape.length < 2) continue;
    const { name: called = name, columns = shape.at(-1)!, square } = change(name, shape.at(-1)!);
    const values = Float32Array.from({ length: columns }, (_, at) => square?.(at) ?? 2 * random.uniform() ** 8);
    tensors.push({ name: `${called}.in_sum2`, values }, { name: `${called}.counts`, values: Float32Array.of(2) });
  }
  await opened.close();
  const metadata = new Map<string, GgufValue>([['general.type', { type: 'string', value: 'imatrix' }]]);
  const specs = tensors.map(({ name, values }) => ({ name, shape: [values.length], type: 'f32' as const }));
  const { header, byteLength, tensors: places } = planGguf(metadata, specs);
  const bytes = new Uint8Array(byteLength);
  bytes.set(header);
  places.forEach(({ offset }, i) => bytes.set(new Uint8Array(tensors[i]!.values.buffer), offset));
  const path = join(root, file);
  writeFileSync(path, bytes);
  return path;
}

const exported = async (source: string, variant: string, file: string, importance?: string): Promise<string> => {
  const output = join(root, file);
  const options = { format: `gguf:${variant}`, output, threads: 1, ...(importance !== undefined && { importance }) };
  await exportModel(source, options);
  return output;
};

describe('export with an importance matrix', () => {
  it('quantizes for the columns that count, and names the file by its content', async () => {
    const path = await imatrix(model, 'good.gguf');
    const [plain, weighted] = [
      await exported(model, 'q2_k', 'plain.gguf'),
      await exported(model, 'q2_k', 'weighted.gguf', path),
    ];
    const receipt = await readReceipt(weighted);
    const bytes = readFileSync(path);
    expect(receipt.options).toMatchObject({ imatrix: { bytes: bytes.length, sha256: sha256(bytes) } });
    expect(JSON.stringify(receipt)).not.toContain(path);
    // The embedding and the output are not measured.
    expect(receipt.notices).toEqual([
      '2 tensors are quantized without importances, there are none for them: token_embd.weight, output.weight',
    ]);
    const hashes = async (file: string) =>
      new Map((await readReceipt(file)).output.tensors.map((tensor) => [tensor.name, tensor.sha256]));
    const [before, after] = [await hashes(plain), await hashes(weighted)];
    const differing = [...before].filter(([name, hash]) => after.get(name) !== hash).map(([name]) => name);
    expect(differing.sort()).toEqual(
      ['attn_k', 'attn_output', 'attn_q', 'attn_v', 'ffn_down', 'ffn_gate', 'ffn_up'].map(
        (name) => `blk.0.${name}.weight`,
      ),
    );
    // Weighted by what counts the errors are smaller, whatever they are without weights.
    const squares = await squaredErrors(model, [plain, weighted], 'model.layers.0.mlp.gate_proj.weight');
    const stored = (await openMeans(path)).get('blk.0.ffn_gate.weight')!;
    const [first, second] = squares.map((errors) => errors.reduce((sum, error, at) => sum + error * stored[at]!, 0));
    expect(second).toBeLessThan(0.9 * first!);
  });

  it('stays finite where nothing counts', async () => {
    const path = await imatrix(model, 'zero.gguf', () => ({ square: () => 0 }));
    for (const variant of [
      'q2_k',
      'q3_k_m',
      'q4_k_m',
      'q5_k_m',
      'q6_k',
      'q4_0',
      'q4_1',
      'q5_0',
      'q5_1',
      'iq4_nl',
      'iq4_xs',
      'iq3_s',
      'iq3_xxs',
      'iq2_xxs',
      'iq2_xs',
      'iq2_m',
      'iq1_s',
      'iq1_m',
    ]) {
      const file = await exported(model, variant, `zero-${variant}.gguf`, path);
      const opened = await openModel(file);
      for (const weight of opened.weights.values()) {
        expect((await weight.toF32()).every(Number.isFinite), `${variant} ${weight.name}`).toBe(true);
      }
      await opened.close();
    }
  });

  it('names every tensor whose columns do not fit, before anything is written', async () => {
    const path = await imatrix(model, 'wrong.gguf', (name) => (name.includes('ffn_') ? { columns: 3 } : {}));
    const { problems } = await planExport(model, { format: 'gguf:q2_k', importance: path });
    expect(problems).toMatchObject(
      ['ffn_gate', 'ffn_up', 'ffn_down'].map((name) => ({ code: 'IMATRIX_SIZE', name: `blk.0.${name}.weight` })),
    );
    expect(problems[0]!.message).toMatch(/256 columns.*3 numbers/);
    await expect(exported(model, 'q2_k', 'never.gguf', path)).rejects.toMatchObject({ code: 'PLAN_PROBLEMS' });
  });

  it('refuses the file of another model, what has no use for one, and a file that is none', async () => {
    const other = await imatrix(model, 'other.gguf', (name) => ({ name: `x.${name}` }));
    const plan = (variant: string, importance: string) => planExport(model, { format: `gguf:${variant}`, importance });
    expect((await plan('q2_k', other)).problems).toMatchObject([{ code: 'IMATRIX_OTHER_MODEL' }]);
    const good = await imatrix(model, 'good.gguf');
    expect((await plan('q8_0', good)).problems).toMatchObject([{ code: 'OPTION_UNUSED', name: 'importance' }]);
    await expect(plan('q2_k', join(model, 'config.json'))).rejects.toMatchObject({ code: 'IMATRIX_COUNT_INVALID' });
    await expect(plan('q2_k', join(root, 'absent'))).rejects.toMatchObject({ code: 'FILE_READ_FAILED' });
  });

  it('refuses variants of few bits without it, and where some tensors have none, before anything is written', async () => {
    for (const variant of ['iq3_xxs', 'iq2_xxs', 'iq2_xs', 'iq2_s', 'iq2_m', 'iq1_s', 'iq1_m', 'iq3_xs']) {
      const { problems } = await planExport(model, { format: `gguf:${variant}` });
      expect(problems.map(({ code }) => code)).toEqual(['IMPORTANCE_MISSING']);
      expect(problems[0]!.message).toMatch(
        /blk\.0\..*weight as iq.*--calibration FILE.*--imatrix FILE.*iq3_s or a larger/,
      );
    }
    await expect(exported(model, 'iq2_xs', 'never.gguf')).rejects.toMatchObject({ code: 'PLAN_PROBLEMS' });
    for (const variant of ['iq3_s', 'iq3_m']) {
      expect((await planExport(model, { format: `gguf:${variant}` })).problems).toEqual([]);
    }
    const some = await imatrix(model, 'some.gguf', (name) => (name.includes('attn_q') ? { name: `x.${name}` } : {}));
    const { problems } = await planExport(model, { format: 'gguf:iq2_xxs', importance: some });
    expect(problems.map(({ message }) => message)).toEqual([
      expect.stringMatching(
        /^gguf:iq2_xxs: .*for blk\.0\.attn_q\.weight as iq2_xxs, got none; measure it on this model/,
      ),
    ]);
    // What is kept as it is needs none.
    const first = await exported(model, 'iq2_xxs', 'kept.gguf', await imatrix(model, 'all.gguf'));
    const again = await exported(first, 'iq2_xxs', 'kept-again.gguf');
    const hashes = async (file: string) => (await readReceipt(file)).output.tensors.map((one) => one.sha256).sort();
    expect(await hashes(again)).toEqual(await hashes(first));
  });

  it('says how many tensors of the file are none of this model', async () => {
    const path = await imatrix(model, 'more.gguf', (name) =>
      name.includes('attn_q') ? { name: 'blk.9.attn_q.weight' } : {},
    );
    const { notices, problems } = await planExport(model, { format: 'gguf:q4_k_m', importance: path });
    expect(problems).toEqual([]);
    expect(notices.join('\n')).toMatch(
      /^3 tensors .*blk\.0\.attn_q\.weight.*\n1 tensor of the importance matrix is none/,
    );
  });

  it.skipIf(!hasShared)('of stories260k, whose columns are no whole blocks of 256', async () => {
    const source = shared('models/stories260k');
    const path = await imatrix(source, 'stories.gguf');
    const [plain, weighted] = [
      await exported(source, 'q4_k_m', 'stories-plain.gguf'),
      await exported(source, 'q4_k_m', 'stories-weighted.gguf', path),
    ];
    expect(readFileSync(weighted).equals(readFileSync(plain))).toBe(false);
    const opened = await openModel(weighted);
    expect(opened.weights.size).toBeGreaterThan(40);
    await opened.close();
  });
});

describe.skipIf(!hasShared)('export with a calibration text', () => {
  it('loses less of docs6m in 2 bits than without', { timeout: 60_000 }, async () => {
    const source = shared('models/docs6m');
    const [calibration, evaluate] = [
      { text: shared('data/docs-calibration.txt'), samples: 8, context: 128 },
      { text: join(root, 'eval.txt'), context: 128 },
    ];
    writeFileSync(evaluate.text, readFileSync(shared('data/docs-eval.txt')).subarray(0, 6000));
    const perplexities: number[] = [];
    for (const more of [{}, { calibration }]) {
      const output = join(root, `docs-${perplexities.length}.gguf`);
      const { quality } = await exportModel(source, { format: 'gguf:q2_k', output, evaluate, threads: 1, ...more });
      perplexities.push(quality!.after.perplexity);
    }
    expect(perplexities[1]).toBeLessThan(perplexities[0]!);
    const { options } = await readReceipt(join(root, 'docs-1.gguf'));
    expect(options).toMatchObject({
      calibration: { samples: 8, context: 128, sha256: sha256(readFileSync(calibration.text)) },
    });
  });

  it('is refused beside a file, and where no type has a use for it', async () => {
    const source = shared('models/stories260k');
    const calibration = { text: shared('data/stories-calibration.txt') };
    const importance = await imatrix(source, 'beside.gguf');
    const codes = async (format: string, more = {}) =>
      (await planExport(source, { format, calibration, ...more })).problems.map(({ code }) => code);
    expect(await codes('gguf:q4_0', { importance })).toEqual(['OPTIONS_CONFLICT']);
    expect(await codes('gguf:q8_0')).toEqual(['OPTION_UNUSED']);
    expect(await codes('gguf:q4_0')).toEqual([]);
  });
});

/** Sums of squared errors by column of a weight in several files. */
async function squaredErrors(source: string, files: readonly string[], name: string): Promise<Float64Array[]> {
  const original = await openModel(source);
  const weight = original.weights.get(name)!;
  const [values, columns] = [await weight.toF32(), weight.shape.at(-1)!];
  await original.close();
  return Promise.all(
    files.map(async (file) => {
      const opened = await openModel(file);
      const sums = new Float64Array(columns);
      (await opened.weights.get(name)!.toF32()).forEach((value, at) => {
        sums[at % columns]! += (value - values[at]!) ** 2;
      });
      await opened.close();
      return sums;
    }),
  );
}

async function openMeans(path: string): Promise<Map<string, Float32Array>> {
  const { imatrix: read } = await readImportance(path);
  return new Map([...read.entries].map(([name, { meanSquares }]) => [name, meanSquares]));
}
