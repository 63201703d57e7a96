// An exported encoder in transformers.js: its pipelines for features and for masked words, from a local folder, against Pith.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { saveCheckpoint } from '@pith/checkpoint/node';
import { describeArchitecture, embeddings, expectedTensors, logits, readModelConfig } from '@pith/model';
import { openModel } from '@pith/model/node';
import { denseWeight, fromF32, memoryBytes, randomStream } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { hasRuntime, runtimeUrl } from '@pith-tooling/vitest/runtimes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verify } from '../../verify/verify.ts';
import { exportModel, planExport } from '../export-model.ts';
import { roundedModel } from './rounded-model.fixture.ts';

/** A small WordPiece vocabulary, and the ids and vectors of `@pith/model`'s own tests. */
const { tokenizer } = JSON.parse(
  readFileSync(new URL('../../../../model/src/evaluate/bert-embeddings.fixture.json', import.meta.url), 'utf8'),
) as { tokenizer: unknown };

const CONFIG = {
  model_type: 'bert',
  vocab_size: 35,
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 48,
  max_position_embeddings: 32,
  type_vocab_size: 2,
  pad_token_id: 0,
};

let root: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'pith-onnx-encoder-'));
  await writeBert(join(root, 'features'), 'BertModel');
  await writeBert(join(root, 'masked'), 'BertForMaskedLM');
});
afterAll(() => rmSync(root, { recursive: true }));

async function writeBert(directory: string, architecture: string): Promise<void> {
  const config = { ...CONFIG, architectures: [architecture] };
  const random = randomStream(3, architecture);
  const weights = expectedTensors(describeArchitecture(readModelConfig(config))).map(({ name, shape }) => {
    const isNorm = name.endsWith('LayerNorm.weight');
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
      const around = 0.6 * (random.uniform() - 0.5);
      return isNorm ? 1 + around : around;
    });
    return denseWeight({ name, shape, dtype: 'f32', source: memoryBytes(fromF32('f32', values)) });
  });
  const tokenizerConfig = {
    tokenizer_class: 'BertTokenizer',
    do_lower_case: true,
    model_max_length: 32,
    ...{ cls_token: '[CLS]', sep_token: '[SEP]', mask_token: '[MASK]', pad_token: '[PAD]', unk_token: '[UNK]' },
  };
  const files = {
    'tokenizer.json': JSON.stringify(tokenizer),
    'tokenizer_config.json': JSON.stringify(tokenizerConfig),
  };
  await saveCheckpoint(directory, { configText: JSON.stringify(config), weights, files });
}

const SCRIPT = `
import { readFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
const { url, folder, name, task, texts, options } = deserialize(readFileSync(0));
const { pipeline, env } = await import(url);
env.allowRemoteModels = false;
env.localModelPath = folder;
const run = await pipeline(task, name);
const out = await run(texts, options);
process.stdout.write(serialize(task === 'fill-mask' ? out : { dims: [...out.dims], data: Float32Array.from(out.data) }));
`;

function pipelineOf<T>(directory: string, task: string, texts: readonly string[], options: object): T {
  const url = runtimeUrl('@huggingface/transformers');
  const input = serialize({ url, folder: dirname(directory), name: basename(directory), task, texts, options });
  return deserialize(execFileSync(process.execPath, ['--input-type=module', '-e', SCRIPT], { input })) as T;
}

const TEXTS = ['The cats sat on the mat.', 'Unhappiness!'];

interface Features {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}

describe.skipIf(!hasRuntime('@huggingface/transformers'))('bert in transformers.js', () => {
  const device = cpuDevice({ threads: 1 });
  afterAll(() => device.dispose());

  // f32 on both sides. Products of a token round their operands to 2^-11 of themselves in f16: six linears and two products of
  // attention in each of two blocks. An input on the border of two codes may fall to either side: a step of 1 / 255 of its range.
  it.each([
    ['f32', 1e-5],
    ['f16', 16 * 2 ** -11],
    ['q8', 1e-5],
    ['q4', 1e-5],
    ['int8-token', 1 / 255],
  ] as const)(
    'feature-extraction, %s: the embeddings of Pith with the same rounding, in a padded batch',
    async (variant, tolerance) => {
      for (const name of ['features', 'masked']) {
        const output = join(root, `${name}-${variant}`);
        await exportModel(join(root, name), { format: `onnx:${variant}`, output });
        const options = { pooling: 'mean', normalize: true };
        const found = pipelineOf<Features>(output, 'feature-extraction', TEXTS, options);
        expect(found.dims).toEqual([2, CONFIG.hidden_size]);
        const model = await openModel(join(root, name));
        const reference = variant === 'f32' || variant === 'f16' ? model : await roundedModel(model, variant);
        const vectors = await embeddings(reference, TEXTS, { device, normalize: true });
        await model.close();
        const differences = vectors.flatMap((vector, row) =>
          Array.from(vector, (value, i) => Math.abs(value - found.data[row * CONFIG.hidden_size + i]!)),
        );
        expect(Math.max(...differences), name).toBeLessThan(tolerance);
      }
    },
  );

  it.each(['int8', 'int8-static'])(
    'feature-extraction, %s: the angle to the vector of the model is within what its roundings allow',
    async (variant) => {
      const folder = join(root, 'features');
      const output = join(root, `angle-${variant}`);
      const text = join(root, 'ids.json');
      writeFileSync(text, JSON.stringify(Array.from({ length: 400 }, (_, i) => 5 + ((i * 7) % 30))));
      const calibration = variant === 'int8-static' && { calibration: { text, samples: 8, context: 16 } };
      await exportModel(folder, { format: `onnx:${variant}`, output, ...calibration });
      const options = { pooling: 'mean', normalize: true };
      const { data } = pipelineOf<Features>(output, 'feature-extraction', [TEXTS[0]!], options);
      const model = await openModel(folder);
      const [vector] = await embeddings(model, [TEXTS[0]!], { device, normalize: true });
      await model.close();
      const dot = data.reduce((sum, value, i) => sum + value * vector![i]!, 0);
      // 12 products round their inputs by half a step of 1 / 255 of the range at most, and their weights alike.
      expect(Math.acos(Math.min(1, dot))).toBeLessThan((12 * 2) / 255);
    },
  );

  it('fill-mask: the words that Pith finds most likely, with their shares', async () => {
    const output = join(root, 'masked-words');
    const folder = join(root, 'masked');
    await exportModel(folder, { format: 'onnx', output });
    const text = 'The cat sat on the [MASK].';
    const [found] = [pipelineOf<{ token: number; score: number }[]>(output, 'fill-mask', [text], { top_k: 5 })].map(
      (result) => (Array.isArray(result[0]) ? (result[0] as unknown as typeof result) : result),
    );
    const model = await openModel(folder);
    const { ids } = model.tokenizer!.encodeWithSpecial(text);
    const { data } = await logits(model, ids, { device });
    await model.close();
    const at = [...ids].indexOf(4) * CONFIG.vocab_size;
    const row = data.slice(at, at + CONFIG.vocab_size);
    const shares = row.map((value) => Math.exp(value - Math.max(...row)));
    const sum = shares.reduce((a, b) => a + b);
    const order = [...row.keys()].sort((a, b) => row[b]! - row[a]!).slice(0, 5);
    expect(found!.map(({ token }) => Number(token))).toEqual(order);
    found!.forEach(({ score, token }) => expect(Math.abs(score - shares[Number(token)]! / sum)).toBeLessThan(1e-5));
  });
});

describe('the export of an encoder', () => {
  it('has no config for a runtime that generates text, and holds what its receipt says', async () => {
    const output = join(root, 'files');
    const plan = await planExport(join(root, 'features'), { format: 'onnx:q4f16' });
    expect(plan.problems).toEqual([]);
    const result = await exportModel(join(root, 'features'), { format: 'onnx:q4f16', output });
    expect(result.files).not.toContain('genai_config.json');
    expect(readdirSync(join(output, 'onnx'))).toEqual(['model_q4f16.onnx']);
    const config = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(config['transformers.js_config']).toEqual({ dtype: 'q4f16' });
    expect(await verify(output)).toMatchObject({ ok: true });
  });
});
