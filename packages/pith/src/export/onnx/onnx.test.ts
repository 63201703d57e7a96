// What `pith export --format onnx` writes, loaded by transformers.js and ONNX Runtime.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { generate, logits, type LanguageModel } from '@pith/model';
import { openModel } from '@pith/model/node';
import { cpuDevice } from '@pith/tensor-core/node';
import { localHost } from '@pith/tensor-core';
import { hasRuntime, runtimeUrl } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fileURLToPath } from 'node:url';
import { writeSyntheticModel } from '../../testing/synthetic-model.fixture.ts';
import { verify } from '../../verify/verify.ts';
import { exportModel, planExport } from '../export-model.ts';
import { parseFormat } from '../formats.ts';
import { roundWeight } from './round-weight.ts';
import { describeVariant, ONNX_VARIANTS, parseVariant } from './variant.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-onnx-'));
});
afterAll(() => rmSync(root, { recursive: true }));

describe('variants', () => {
  it('are read and put in words', () => {
    for (const variant of ONNX_VARIANTS) expect(describeVariant(variant), variant).not.toBe('');
    expect(parseVariant('q4g128-asym')).toMatchObject({ format: 'q4', storage: { blockSize: 128, symmetric: false } });
    expect(parseVariant('q4f16')).toMatchObject({ format: 'q4f16', storage: { blockSize: 32, dtype: 'f16' } });
    expect(parseFormat('onnx').variant).toBe('f32');
    expect(parseFormat('onnx:q4g64').variant).toBe('q4g64');
    expect(describeVariant('q4f16g16')).toMatch(/symmetric, blocks of 16, .*f16/);
  });

  it.each(['q4g48', 'q4asym', 'q5', 'int8-asym', 'q4f16g128asym', 'toString'])('%s is refused', (variant) => {
    expect(() => parseFormat(`onnx:${variant}`)).toThrow(/must name a variant of onnx/);
  });
});

describe('a model of any shape', () => {
  it('writes what the plan says, to the byte, inside one file or in files of a size', async () => {
    const model = join(root, 'synthetic');
    writeSyntheticModel(model, { layers: 2, hidden: 48, feedForward: 88 });
    for (const format of ['onnx:q4-asym', 'onnx:f16', 'onnx:int8']) {
      for (const shardBytes of [undefined, 20_000]) {
        const options = { format, ...(shardBytes !== undefined && { shardBytes }) };
        const plan = await planExport(model, options);
        expect(plan.problems).toEqual([]);
        const output = join(root, 'out');
        const result = await exportModel(model, { ...options, output, overwrite: true });
        const files = readdirSync(join(output, 'onnx'));
        expect(files.reduce((sum, name) => sum + statSync(join(output, 'onnx', name)).size, 0)).toBe(plan.bytesAfter);
        expect(result.files).toEqual(expect.arrayContaining(['config.json', 'genai_config.json']));
        expect(await verify(output)).toMatchObject({ ok: true });
      }
    }
  });

  it('is the same for any number of threads', async () => {
    const model = join(root, 'synthetic');
    const bytes = [];
    for (const threads of [1, 3]) {
      const output = join(root, `threads-${threads}`);
      await exportModel(model, { format: 'onnx:q4', output, threads });
      bytes.push(readFileSync(join(output, 'onnx/model_q4.onnx')));
    }
    expect(bytes[0]!.equals(bytes[1]!)).toBe(true);
  });

  it('refuses what it has no use for, and static scales without a text', async () => {
    const model = join(root, 'synthetic');
    const calibration = { text: 'x.txt' };
    const codes = async (options: Parameters<typeof planExport>[1]) =>
      (await planExport(model, options)).problems.map(({ code }) => code);
    expect(await codes({ format: 'onnx:q4', calibration })).toEqual(['OPTION_UNUSED']);
    expect(await codes({ format: 'onnx:q4', importance: 'x' })).toEqual(['OPTION_UNUSED']);
    expect(await codes({ format: 'onnx:int8-static' })).toEqual(['CALIBRATION_MISSING']);
  });
});

const TRANSFORMERS_JS = `
import { readFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
const { url, folder, name, dtype, prompts, count } = deserialize(readFileSync(0));
const { AutoModelForCausalLM, AutoTokenizer, env } = await import(url);
env.allowRemoteModels = false;
env.localModelPath = folder;
const tokenizer = await AutoTokenizer.from_pretrained(name);
tokenizer.padding_side = 'left';
const model = await AutoModelForCausalLM.from_pretrained(name, dtype === undefined ? {} : { dtype });
const inputs = tokenizer(prompts, { padding: true });
const { logits } = await model(inputs);
const output = await model.generate({ ...inputs, max_new_tokens: count, do_sample: false });
const ids = output.tolist().map((row) => row.map(Number));
const padded = inputs.input_ids.tolist().map((row) => row.map(Number));
const mask = inputs.attention_mask.tolist().map((row) => row.map(Number));
process.stdout.write(serialize({ ids, padded, mask, logits: { dims: [...logits.dims], data: Float32Array.from(logits.data) } }));
`;

interface Generated {
  readonly ids: number[][];
  readonly padded: number[][];
  readonly mask: number[][];
  readonly logits: { dims: number[]; data: Float32Array };
}

/** Loads an export from its folder and continues prompts, together and padded on the left. */
function transformersJs(directory: string, prompts: readonly string[], count: number, dtype?: string): Generated {
  const url = runtimeUrl('@huggingface/transformers');
  const input = serialize({ url, folder: dirname(directory), name: basename(directory), prompts, count, dtype });
  const options = { input, maxBuffer: 2 ** 30 };
  return deserialize(
    execFileSync(process.execPath, ['--input-type=module', '-e', TRANSFORMERS_JS], options),
  ) as Generated;
}

const demo = fileURLToPath(new URL('../../../../../examples/demo-model/checkpoint', import.meta.url));
const PROMPTS = ['Once upon a time', 'The little dog was very happy because'];

/** The model whose weights are rounded as the export rounds them. */
async function rounded(model: LanguageModel, variant: string): Promise<LanguageModel> {
  const { storage } = parseVariant(variant)!;
  const { architecture } = model;
  const weights = new Map(model.weights);
  const tables = [architecture.embedding.name, architecture.head.name];
  for (const [name, weight] of weights) {
    if (weight.shape.length !== 2) continue;
    const [, columns] = weight.shape as readonly [number, number];
    const isTable = tables.includes(name);
    const bits = isTable || storage.weights === 'q8' ? 8 : 4;
    const fitting = [128, 64, 32].find((size) => columns % size === 0) ?? 32;
    const groupSize = bits === 8 ? fitting : storage.blockSize;
    const symmetric = bits === 8 || storage.symmetric;
    const wide = Math.ceil(columns / groupSize) * groupSize;
    const rounding = { bits, groupSize, symmetric, scaleDType: storage.dtype, columns: wide } as const;
    const made = await roundWeight(weight, rounding, localHost());
    weights.set(name, {
      ...weight,
      toF32: async (start, end) => narrow(await made.toF32(start, end), wide, columns),
      ...('bytes' in weight && {
        bytes: async (start?: number, end?: number) =>
          new Uint8Array(narrow(await made.toF32(start, end), wide, columns).buffer),
      }),
      ...('dtype' in weight && { dtype: 'f32' as const }),
    } as typeof weight);
  }
  return { ...model, weights };
}

function narrow(values: Float32Array, wide: number, columns: number): Float32Array {
  if (wide === columns) return values.slice();
  const rows = values.length / wide;
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) result.set(values.subarray(row * wide, row * wide + columns), row * columns);
  return result;
}

describe.skipIf(!hasShared || !hasRuntime('@huggingface/transformers'))('stories260k in transformers.js', () => {
  const device = cpuDevice({ threads: 1 });
  afterAll(() => device.dispose());
  const stories = shared('models/stories260k');

  /** Largest difference of the logits of real tokens, as a share of the largest logit. */
  async function difference(model: LanguageModel, { padded, mask, logits: found }: Generated): Promise<number> {
    const [, width, vocabulary] = found.dims as [number, number, number];
    let most = 0;
    let largest = 0;
    for (const [row, ids] of padded.entries()) {
      const from = mask[row]!.indexOf(1);
      const { data } = await logits(model, ids.slice(from), { device });
      const at = (row * width + from) * vocabulary;
      data.forEach((value, i) => {
        most = Math.max(most, Math.abs(value - found.data[at + i]!));
        largest = Math.max(largest, Math.abs(value));
      });
    }
    return most / largest;
  }

  it('f32: the words of the original, in a batch padded on the left', async () => {
    const output = join(root, 'stories-f32');
    await exportModel(stories, { format: 'onnx', output });
    const found = transformersJs(output, PROMPTS, 40);
    const model = await openModel(stories);
    expect(await difference(model, found)).toBeLessThan(2e-4);
    for (const [row, prompt] of PROMPTS.entries()) {
      const own = await generate(model, { device, prompt, maxTokens: 40 });
      expect(found.ids[row]!.slice(-40)).toEqual([...own.ids]);
    }
    await model.close();
  });

  it.each(['q4', 'q4-asym', 'q8'])('%s: the logits of the rounded model, and a story', async (variant) => {
    const output = join(root, `stories-${variant}`);
    await exportModel(stories, { format: `onnx:${variant}`, output, shardBytes: 100_000 });
    const found = transformersJs(output, PROMPTS, 20);
    const model = await openModel(stories);
    expect(await difference(await rounded(model, variant), found)).toBeLessThan(2e-4);
    expect(model.tokenizer!.decode(found.ids[0]!)).toMatch(/Once upon a time, there was a/);
    await model.close();
  });

  it.each([
    ['f16', 'fp16', 0.01],
    ['q4f16', 'q4f16', 0.01],
    ['int8', 'int8', 0.12],
    ['int8-token', 'int8', 0.06],
    ['int8-qdq', 'int8', 0.06],
    ['int8-static', 'int8', 0.2],
  ] as const)(
    '%s: near the original, as near as its rounding of products allows',
    async (variant, dtype, tolerance) => {
      const output = join(root, `stories-${variant}`);
      const calibration = { text: shared('data/stories-calibration.txt'), samples: 16, context: 256 };
      await exportModel(stories, {
        format: `onnx:${variant}`,
        output,
        ...(variant === 'int8-static' && { calibration }),
      });
      const found = transformersJs(output, PROMPTS, 20, dtype);
      const model = await openModel(stories);
      const reference = variant === 'q4f16' ? await rounded(model, 'q4f16') : model;
      expect(await difference(reference, found)).toBeLessThan(tolerance);
      expect(model.tokenizer!.decode(found.ids[0]!)).toMatch(/Once upon a time, there was a/);
      await model.close();
    },
  );

  it('the demo model continues as it does here', async () => {
    const output = join(root, 'demo');
    await exportModel(demo, { format: 'onnx', output });
    const model = await openModel(demo);
    const prompt = 'The';
    const found = transformersJs(output, [prompt], 16);
    expect(await difference(model, found)).toBeLessThan(2e-4);
    const own = await generate(model, { device, ids: found.padded[0]!, maxTokens: 16, stopTokenIds: [] });
    expect(found.ids[0]!.slice(found.padded[0]!.length)).toEqual(
      [...own.ids].slice(0, found.ids[0]!.length - found.padded[0]!.length),
    );
    await model.close();
  });
});

describe('configs of runtimes', () => {
  it('name the model, its tensors and its cache', async () => {
    const output = join(root, 'configs');
    await exportModel(join(root, 'synthetic'), { format: 'onnx:q4f16', output, shardBytes: 20_000 });
    const json = (name: string) => JSON.parse(readFileSync(join(output, name), 'utf8')) as Record<string, never>;
    const dataFiles = readdirSync(join(output, 'onnx')).filter((name) => name.includes('.onnx_data')).length;
    expect(dataFiles).toBeGreaterThan(1);
    expect(json('config.json')['transformers.js_config']).toEqual({
      dtype: 'q4f16',
      kv_cache_dtype: { q4f16: 'float16' },
      use_external_data_format: { 'model_q4f16.onnx': dataFiles },
    });
    expect(json('genai_config.json')).toMatchObject({
      model: {
        type: 'llama',
        decoder: { filename: 'onnx/model_q4f16.onnx', inputs: { past_key_names: 'past_key_values.%d.key' } },
      },
      search: { past_present_share_buffer: false },
    });
  });
});
