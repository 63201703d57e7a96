// Golden: stories260k as llama.cpp's converter wrote it in f16 (with scores mended, see the scores in gguf-tokenizer.ts).
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openGguf, restoreBlocks, type GgufValue } from '@pith/checkpoint';
import { fromF32, memoryBytes, toF32 } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { describeArchitecture } from '../architecture/registry.ts';
import { readModelConfig } from '../config/read-config.ts';
import { openModel } from '../node/open-model.ts';
import { ggufName } from './gguf-name.ts';
import { ggufMetadata } from './gguf-metadata.ts';
import { ggufTensors } from './gguf-tensors.ts';
import { ggufTokenizer } from './gguf-tokenizer.ts';
import { rotaryFactors } from './rotary-factors.ts';

const json = (path: string): unknown => JSON.parse(readFileSync(shared(path), 'utf8'));

const values = (metadata: ReadonlyMap<string, GgufValue>, key: string) => {
  const entry = metadata.get(key);
  return entry?.type === 'array' ? entry.items.values : entry?.value;
};

/** Rows of heads as llama.cpp has them: neighbours of a head are those of the two halves. */
function neighbours(rows: Float32Array, columns: number, headDim: number): Float32Array {
  const moved = new Float32Array(rows.length);
  for (let row = 0; row * columns < rows.length; row++) {
    const within = row % headDim;
    const to = row - within + (within < headDim / 2 ? 2 * within : 2 * within - headDim + 1);
    moved.set(rows.subarray(row * columns, (row + 1) * columns), to * columns);
  }
  return moved;
}

describe.skipIf(!hasShared)('stories260k as GGUF', () => {
  const golden = () =>
    openGguf(memoryBytes(readFileSync(shared('golden/stories260k/stories260k-f16.gguf'))), 'stories260k-f16.gguf');

  it('has the tensors of the reference, with its values', async () => {
    const { tensors } = await golden();
    const model = await openModel(shared('models/stories260k'));
    const ours = ggufTensors(model.architecture);
    expect(ours.map(({ name }) => name).sort()).toEqual([...tensors.keys()].sort());
    for (const { name, parts, shape } of ours) {
      const reference = tensors.get(name)!;
      expect(reference.shape).toEqual(shape);
      const [{ name: source, rotaryHeadDim }] = parts;
      const dense = await model.weights.get(source)!.toF32();
      const placed = rotaryHeadDim === null ? dense : neighbours(dense, shape.at(-1)!, rotaryHeadDim);
      const expected = restoreBlocks(reference.type, await reference.source.read(0, reference.byteLength));
      const rounded = reference.type === 'f16' ? toF32('f16', fromF32('f16', placed)) : placed;
      expect(rounded).toEqual(expected);
    }
    await model.close();
  });

  it('has the metadata of the reference', async () => {
    const { metadata } = await golden();
    const { architecture } = await openModel(shared('models/stories260k'));
    const ours = ggufMetadata(architecture, { name: 'Stories260K', fileType: 1 });
    for (const [key, value] of ours) expect({ [key]: metadata.get(key) }).toEqual({ [key]: value });
    expect([...metadata.keys()].filter((key) => key.startsWith('llama.') && !ours.has(key))).toEqual([]);
  });

  it('has the tokenizer of the reference', async () => {
    const { metadata } = await golden();
    const ours = ggufTokenizer(json('models/stories260k/tokenizer.json'), {
      vocabularySize: 512,
      bosTokenId: 1,
      eosTokenId: 2,
      addBos: true,
    });
    for (const key of [
      'model',
      'pre',
      'tokens',
      'token_type',
      'bos_token_id',
      'eos_token_id',
      'unknown_token_id',
      'add_bos_token',
    ]) {
      expect(values(ours, `tokenizer.ggml.${key}`)).toEqual(values(metadata, `tokenizer.ggml.${key}`));
    }
    // SentencePiece counts pieces, tokenizer.json counts merges, several of which may make the same piece: the order is what counts.
    const order = (of: ReadonlyMap<string, GgufValue>) => {
      const scores = values(of, 'tokenizer.ggml.scores') as number[];
      return [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b);
    };
    expect(order(ours)).toEqual(order(metadata));
  });
});

describe('GGUF of made-up models', () => {
  const config = {
    model_type: 'qwen2',
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    vocab_size: 40,
    tie_word_embeddings: false,
  };

  it('keeps the rows of an architecture that rotates halves, and has its biases and head', () => {
    const tensors = ggufTensors(describeArchitecture(readModelConfig(config)));
    expect(tensors.every(({ parts }) => parts.every(({ rotaryHeadDim }) => rotaryHeadDim === null))).toBe(true);
    const names = tensors.map(({ name }) => name);
    expect(names).toContain('blk.0.attn_q.bias');
    expect(names).toContain('output.weight');
    expect(names).not.toContain('blk.0.attn_output.bias');
  });

  it('divides the frequencies as Llama 3.1 does', () => {
    const rope_scaling = {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    };
    const llama = { ...config, model_type: 'llama', head_dim: 128, rope_theta: 500_000, rope_scaling };
    const factors = rotaryFactors(readModelConfig(llama))!;
    expect(factors).toHaveLength(64);
    expect(factors[0]).toBe(1);
    expect(factors[63]).toBe(8);
    // Wavelength 2π 500000^(60/128) = 2950: between 2048 and 8192.
    const smooth = (8192 / (2 * Math.PI * 500_000 ** (60 / 128)) - 1) / 3;
    expect(factors[30]).toBeCloseTo(1 / ((1 - smooth) / 8 + smooth), 5);
    expect([...factors]).toEqual([...factors].sort((a, b) => a - b));
  });

  const bpe = (pre_tokenizer: unknown) => ({
    model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: [['a', 'b']] },
    added_tokens: [{ id: 3, content: '<end>', special: true }],
    pre_tokenizer,
  });
  const options = { vocabularySize: 6, bosTokenId: null, eosTokenId: 3, addBos: false };

  it('names the pre-tokenizers that llama.cpp knows, and refuses others', () => {
    const llama3 =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    const split = (Regex: string) => ({
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', use_regex: false },
      ],
    });
    const pre = (tokenizer: unknown) => values(ggufTokenizer(bpe(tokenizer), options), 'tokenizer.ggml.pre');
    expect(pre({ type: 'ByteLevel', use_regex: true })).toBe('gpt-2');
    expect(pre(split(llama3))).toBe('dbrx');
    const ignoring = { ...bpe(split(llama3)), model: { ...bpe(null).model, ignore_merges: true } };
    expect(values(ggufTokenizer(ignoring, options), 'tokenizer.ggml.pre')).toBe('llama-bpe');
    expect(pre(split(llama3.replace('{1,3}', '')))).toBe('qwen2');
    expect(() => pre(split('\\w+'))).toThrow(/no.*name|none/);
    expect(() => pre(null)).toThrow(/GGUF/);
  });

  it('fills up ids without a token, and says which are special', () => {
    const metadata = ggufTokenizer(bpe({ type: 'ByteLevel', use_regex: true }), options);
    expect(values(metadata, 'tokenizer.ggml.tokens')).toEqual(['a', 'b', 'ab', '<end>', '[PAD4]', '[PAD5]']);
    expect(values(metadata, 'tokenizer.ggml.token_type')).toEqual([1, 1, 1, 3, 5, 5]);
    expect(values(metadata, 'tokenizer.ggml.merges')).toEqual(['a b']);
    expect(metadata.has('tokenizer.ggml.bos_token_id')).toBe(false);
  });

  it('says phi-3 in the name where llama.cpp must read it there, and only there', () => {
    const tokens = (rstrip: boolean) =>
      ['</s>', '<unk>', '<s>', '<|endoftext|>'].map((content, id) => ({ id: id + 10, content, special: true, rstrip }));
    const json = (added_tokens: object[]) => ({ ...bpe(null), added_tokens });
    expect(ggufName('Phi3-mini', json(tokens(true)))).toBe('Phi3-mini');
    expect(ggufName('mine', json(tokens(true)))).toBe('phi-3 mine');
    expect(ggufName('mine', json(tokens(false)))).toBe('mine');
    expect(ggufName('my-phi-3.q8_0', json(tokens(true).slice(1)))).toBe('my-phi 3.q8_0');
  });
});
