// What `pith export --format onnx` writes, loaded by transformers.js and ONNX Runtime.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { generate, logits, type LanguageModel, type StaticInputs } from '@pith/model';
import { openModel } from '@pith/model/node';
import { readOnnxTensors } from '@pith/tensor-core';
import { cpuDevice, createKernelPool } from '@pith/tensor-core/node';
import { hasRuntime, runtimeUrl } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fileURLToPath } from 'node:url';
import { writeSyntheticModel } from '../../testing/synthetic-model.fixture.ts';
import { readReceipt } from '../../receipt/receipt.ts';
import { verify } from '../../verify/verify.ts';
import { exportModel, planExport } from '../export-model.ts';
import { parseFormat } from '../formats.ts';
import { measureInputs } from './measure-inputs.ts';
import { roundedModel } from './rounded-model.fixture.ts';
import { describeVariant, ONNX_VARIANTS, parseVariant } from './variant.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-onnx-'));
  writeSyntheticModel(join(root, 'synthetic'), { layers: 2, hidden: 48, feedForward: 88 });
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
const { url, folder, name, dtype, prompts, count, session_options } = deserialize(readFileSync(0));
const { AutoModelForCausalLM, AutoTokenizer, env } = await import(url);
env.allowRemoteModels = false;
env.localModelPath = folder;
const tokenizer = await AutoTokenizer.from_pretrained(name);
tokenizer.padding_side = 'left';
const model = await AutoModelForCausalLM.from_pretrained(name, { ...(dtype && { dtype }), session_options });
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
function transformersJs(
  directory: string,
  prompts: readonly string[],
  count: number,
  dtype?: string,
  session_options: object = {},
): Generated {
  const url = runtimeUrl('@huggingface/transformers');
  const input = serialize({
    url,
    folder: dirname(directory),
    name: basename(directory),
    prompts,
    count,
    dtype,
    session_options,
  });
  const options = { input, maxBuffer: 2 ** 30 };
  return deserialize(
    execFileSync(process.execPath, ['--input-type=module', '-e', TRANSFORMERS_JS], options),
  ) as Generated;
}

const demo = fileURLToPath(new URL('../../../../../examples/demo-model/checkpoint', import.meta.url));
const PROMPTS = ['Once upon a time', 'The little dog was very happy because'];

/** Bytes of the tensors beside a model, by name. */
function storedBytes(directory: string, file: string): Map<string, Uint8Array> {
  const { tensors } = readOnnxTensors(readFileSync(join(directory, file)), file);
  return new Map(
    tensors.flatMap(({ name, file: at, offset, byteLength }) =>
      at === null
        ? []
        : [[name, new Uint8Array(readFileSync(join(directory, at)).subarray(offset, offset + byteLength))]],
    ),
  );
}

describe.skipIf(!hasShared || !hasRuntime('@huggingface/transformers'))('stories260k in transformers.js', () => {
  const device = cpuDevice({ threads: 1 });
  afterAll(() => device.dispose());
  const stories = shared('models/stories260k');

  /** Largest difference of the logits of each real token, as a share of the largest logit. */
  async function differences(
    model: LanguageModel,
    { padded, mask, logits: found }: Generated,
    activations: 'plain' | 'quantized' = 'plain',
  ): Promise<number[]> {
    const [, width, vocabulary] = found.dims as [number, number, number];
    const rows: number[] = [];
    let largest = 0;
    for (const [row, ids] of padded.entries()) {
      const from = mask[row]!.indexOf(1);
      const quantized = activations === 'quantized' && { activations };
      const { data } = await logits(model, ids.slice(from), { device, ...quantized });
      const at = (row * width + from) * vocabulary;
      for (let token = 0; token < ids.length - from; token++) {
        let most = 0;
        for (let i = token * vocabulary; i < (token + 1) * vocabulary; i++) {
          most = Math.max(most, Math.abs(data[i]! - found.data[at + i]!));
          largest = Math.max(largest, Math.abs(data[i]!));
        }
        rows.push(most);
      }
    }
    return rows.map((most) => most / largest);
  }

  const difference = async (...of: Parameters<typeof differences>): Promise<number> =>
    Math.max(...(await differences(...of)));

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
    expect(await difference(await roundedModel(model, variant), found)).toBeLessThan(2e-4);
    expect(model.tokenizer!.decode(found.ids[0]!)).toMatch(/Once upon a time, there was a/);
    await model.close();
  });

  // Each product of a token rounds its operands to f16, by at most 2^-11 of themselves: seven linears and two products of attention
  // in each of five blocks, and the head. First order, all in one direction.
  const HALF = (5 * 9 + 1) * 2 ** -11;
  it.each([
    ['f16', 'fp16'],
    ['q4f16', 'q4f16'],
  ] as const)('%s: the logits of the model, as near as products in half precision are', async (variant, dtype) => {
    const output = join(root, `stories-${variant}`);
    await exportModel(stories, { format: `onnx:${variant}`, output });
    const found = transformersJs(output, PROMPTS, 20, dtype);
    const model = await openModel(stories);
    const reference = variant === 'q4f16' ? await roundedModel(model, 'q4f16') : model;
    expect(await difference(reference, found)).toBeLessThan(HALF);
    expect(model.tokenizer!.decode(found.ids[0]!)).toMatch(/Once upon a time, there was a/);
    await model.close();
  });

  const CALIBRATION = { text: shared('data/stories-calibration.txt'), samples: 16, context: 256 };
  // ONNX Runtime makes MatMulNBits of DequantizeLinear from level `extended` on, and rounds inputs once more.
  const PLAIN_SESSION = { graphOptimizationLevel: 'basic' };

  it.each(['int8-token', 'int8-qdq', 'int8-static'])(
    '%s: the logits of Pith with the same weights and inputs rounded, and a story',
    async (variant) => {
      const output = join(root, `stories-${variant}`);
      const isStatic = variant === 'int8-static';
      const options = { format: `onnx:${variant}`, output, ...(isStatic && { calibration: CALIBRATION }) };
      await exportModel(stories, options);
      const found = transformersJs(output, PROMPTS, 20, 'int8', PLAIN_SESSION);
      const model = await openModel(stories);
      const reference = await roundedModel(model, variant, isStatic ? await measured(model) : undefined);
      const plain = await difference(reference, found);
      if (variant === 'int8-qdq') expect(plain).toBeLessThan(2e-4);
      else {
        // An input on the border of two codes may fall to either side by another order of sums, and moves others of later blocks and
        // tokens over theirs: never further than rounding itself moves them, and most tokens not at all.
        const rows = (await differences(reference, found, 'quantized')).sort((a, b) => a - b);
        expect(rows[Math.floor(rows.length / 4)]).toBeLessThan(2e-4);
        expect(rows.at(-1)).toBeLessThan(2 * plain);
      }
      expect(model.tokenizer!.decode(found.ids[0]!)).toMatch(/Once upon a time, there was a/);
      await model.close();
    },
  );

  /** Scales of inputs as the export finds them. */
  async function measured(model: LanguageModel): Promise<StaticInputs> {
    const pool = createKernelPool({ threads: 1 });
    const directory = mkdtempSync(join(root, 'measured-'));
    const request = { name: 'model', calibration: CALIBRATION, threads: 1, seed: 0 };
    try {
      return await measureInputs(model, request, { directory, pool });
    } finally {
      await pool.dispose();
    }
  }

  // What MatMulInteger computes with inputs of one scale for a run is held to Pith's own rounding in @pith/model (`codes.test.ts`).
  it('int8: the codes of int8-token, stored from 0 on, and a story', async () => {
    const [unsigned, signed] = await Promise.all(
      ['int8', 'int8-token'].map(async (variant) => {
        const output = join(root, `codes-${variant}`);
        await exportModel(stories, { format: `onnx:${variant}`, output, shardBytes: 200_000 });
        return { output, tensors: storedBytes(join(output, 'onnx'), 'model_int8.onnx') };
      }),
    );
    const codes = [...signed!.tensors].filter(([name]) => name.endsWith('.MatMul.weight_Q8'));
    expect(codes).toHaveLength(5 * 7);
    for (const [name, bytes] of codes) {
      expect(unsigned!.tensors.get(name), name).toEqual(bytes.map((code) => code ^ 128));
      const scales = name.replace(/_Q8$/, '_scales');
      expect(unsigned!.tensors.get(scales)).toEqual(signed!.tensors.get(scales));
    }
    const found = transformersJs(unsigned!.output, PROMPTS, 20, 'int8');
    const model = await openModel(stories);
    expect(model.tokenizer!.decode(found.ids[0]!)).toMatch(/Once upon a time, there was a/);
    await model.close();
  });

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

describe.skipIf(!hasShared)('static scales of inputs', () => {
  it('name their text by its hash in plan and receipt, and need the memory of the walk', async () => {
    const model = shared('models/stories260k');
    const text = shared('data/stories-calibration.txt');
    const calibration = { text, samples: 4, context: 64 };
    const sha256 = createHash('sha256').update(readFileSync(text)).digest('hex');
    const facts = { sha256, samples: 4, context: 64, choose: 'first' };
    const plan = await planExport(model, { format: 'onnx:int8-static', calibration });
    expect(plan.options['calibration']).toEqual(facts);
    const output = join(root, 'static');
    await exportModel(model, { format: 'onnx:int8-static', calibration, output });
    expect((await readReceipt(output)).options['calibration']).toEqual(facts);
    const many = { ...calibration, samples: 20_000, context: 512 };
    const walk = planExport(model, { format: 'onnx:int8-static', calibration: many });
    expect((await walk).peakMemoryBytes).toBeGreaterThanOrEqual(plan.peakMemoryBytes);
    const little = { format: 'onnx:int8-static', calibration, memoryBytes: 1e6 };
    await expect(planExport(model, little)).rejects.toMatchObject({ code: 'MEMORY_TOO_SMALL' });
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
