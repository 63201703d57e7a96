// BERT as a model of embeddings in llama.cpp: the reference checkpoint with a WordPiece vocabulary, its vectors for tokens and for texts
// against our own.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runLlama } from '@pith-tooling/vitest/llama';
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openGguf } from '@pith/checkpoint';
import { embeddings } from '@pith/model';
import { openModel } from '@pith/model/node';
import { fileBytes } from '@pith/tensor-core/node';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportModel, planExport } from '../export-model.ts';

/** Of a coordinate of a vector of length 1: llama.cpp computes gelu by tanh, from a table in f16. */
const TOLERANCE = 1e-3;

/**
 * Distance of two vectors of length 1, where llama.cpp rounds the inputs of matrices to 8 bits in blocks of 32: by 1/254 of the largest
 * of a block at most, 1/254/sqrt(3) by root of mean square, and the largest is about 2.5 times the root of the mean square of 32 normal
 * values: 0.6% for each of the four products that follow one another in a block. Two blocks, and three times as much for bad luck.
 */
const ROUNDED_INPUTS = 3 * 0.006 * Math.sqrt(8);

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const WORDS = ['the', 'dog', 'cat', 'sat', 'on', 'mat', 'a', 'house', 'run', '##ning', '##s', '##ing', '.', ',', '!'];

function tokenizer(): object {
  const letters = [...'abcdefghijklmnopqrstuvwxyz'].flatMap((letter) => [letter, `##${letter}`]);
  const vocab = [...new Set([...SPECIAL, ...WORDS, ...letters])];
  return {
    version: '1.0',
    added_tokens: SPECIAL.map((content, id) => ({ id, content, special: true })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'BertProcessing',
      sep: ['[SEP]', 3],
      cls: ['[CLS]', 2],
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocab.map((piece, id) => [piece, id])),
    },
  };
}

const TEXTS = ['The dog sat on a mat.', 'Cats, running!', 'a', 'Häuser and dogs sit'];
const IDS = [
  [2, 17, 40, 33, 9, 3],
  [2, 60, 61, 62, 63, 64, 3],
];

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-bert-'));
});
afterAll(() => rmSync(root, { recursive: true }));

describe.skipIf(!hasShared || !hasRuntime('node-llama-cpp'))('bert in llama.cpp', () => {
  const model = (name: string) => {
    const directory = join(root, name);
    cpSync(shared('golden/arch/bert'), directory, { recursive: true });
    rmSync(join(directory, 'reference.safetensors'));
    writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(tokenizer()));
    writeFileSync(
      join(directory, 'tokenizer_config.json'),
      '{"pad_token": "[PAD]", "mask_token": {"content": "[MASK]"}}',
    );
    return directory;
  };

  const pooled = (directory: string, settings: object) => {
    writeFileSync(
      join(directory, 'modules.json'),
      '[{"type": "sentence_transformers.models.Transformer", "path": ""}, {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]',
    );
    mkdirSync(join(directory, '1_Pooling'));
    writeFileSync(join(directory, '1_Pooling', 'config.json'), JSON.stringify(settings));
    return directory;
  };

  it.each(['mean', 'cls'] as const)('%s: vectors and tokens are our own', async (pooling) => {
    const directory = pooled(model(`bert-${pooling}`), {
      pooling_mode_mean_tokens: pooling === 'mean',
      pooling_mode_cls_token: pooling === 'cls',
    });
    const path = join(root, `${pooling}.gguf`);
    await exportModel(directory, { format: 'gguf:f32', output: path, threads: 1 });
    const [tokens, result] = runLlama<{ ids: number[][]; vectors: number[][] }>([
      { path, texts: TEXTS, embed: [...IDS, ...TEXTS] },
    ]);
    const opened = await openModel(directory);
    expect(tokens!.ids).toEqual(TEXTS.map((text) => [...opened.tokenizer!.encode(text)]));
    const device = cpuDevice({ threads: 1 });
    const inputs = [...IDS.map((ids) => ({ ids })), ...TEXTS];
    const own = await embeddings(opened, inputs, { device, pooling, normalize: true });
    await device.dispose();
    await opened.close();
    for (const [i, vector] of result!.vectors.entries()) {
      const length = Math.hypot(...vector);
      vector.forEach((value, j) => {
        expect(Math.abs(value / length - own[i]![j]!), `text ${i}, coordinate ${j}`).toBeLessThan(TOLERANCE);
      });
    }
  });

  it.each(['q8_0', 'q4_0'])('%s: vectors are those of our own evaluation of the file', async (type) => {
    const directory = pooled(model(`bert-${type}`), { pooling_mode_mean_tokens: true });
    const path = join(root, `${type}.gguf`);
    await exportModel(directory, { format: `gguf:${type}`, output: path, threads: 1 });
    const [result] = runLlama<{ vectors: number[][] }>([{ path, embed: [...IDS, ...TEXTS] }]);
    const opened = await openModel(path);
    expect(opened.weights.get('bert.encoder.layer.0.attention.self.query.weight')).toMatchObject({ coding: type });
    const device = cpuDevice({ threads: 1 });
    const own = await embeddings(opened, [...IDS.map((ids) => ({ ids })), ...TEXTS], { device, normalize: true });
    await device.dispose();
    await opened.close();
    for (const [i, vector] of result!.vectors.entries()) {
      const length = Math.hypot(...vector);
      const distance = Math.hypot(...vector.map((value, j) => value / length - own[i]![j]!));
      expect(distance, `text ${i}`).toBeLessThan(ROUNDED_INPUTS);
    }
  });

  it('says what is left out, and what pooling is assumed', async () => {
    const directory = model('bert-plain');
    const output = join(root, 'plain.gguf');
    const plan = await planExport(directory, { format: 'gguf:q8_0', output });
    expect(plan.notices.join('\n')).toMatch(/mean of its tokens/);
    expect(plan.notices.join('\n')).toMatch(/head for masked words \(\d+ weights.*is left out/);
    const omitted = plan.tensors.filter(({ action }) => action === 'omit');
    expect(omitted.map(({ name }) => name)).toContain('cls.predictions.transform.dense.weight');
    expect(omitted[0]!.reason).toBe('left out: llama.cpp has no head for masked words');
    await exportModel(directory, { format: 'gguf:q8_0', output, threads: 1 });
    const source = await fileBytes(output);
    const { metadata, tensors } = await openGguf(source, 'plain.gguf');
    await source.close();
    const value = (key: string) => (metadata.get(key) as { value?: unknown } | undefined)?.value;
    expect(value('general.architecture')).toBe('bert');
    expect(value('bert.pooling_type')).toBe(1);
    expect(value('bert.attention.causal')).toBe(false);
    expect(value('tokenizer.ggml.model')).toBe('bert');
    expect(value('tokenizer.ggml.token_type_count')).toBe(2);
    expect(value('tokenizer.ggml.bos_token_id')).toBe(2);
    expect(value('tokenizer.ggml.seperator_token_id')).toBe(3);
    expect(value('tokenizer.ggml.padding_token_id')).toBe(0);
    expect(value('tokenizer.ggml.mask_token_id')).toBe(4);
    expect([...tensors.keys()].some((name) => name.startsWith('cls'))).toBe(false);
    expect(tensors.get('token_types.weight')!.type).toBe('f32');
  });
});
