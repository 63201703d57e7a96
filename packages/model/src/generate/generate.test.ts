import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { randomStream } from '@pith/tensor-core';
import type { DenseWeight, Device, PithError } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logits } from '../evaluate/logits.ts';
import { folderModel, madeUpModel } from '../testing/folder-model.fixture.ts';
import { generate } from './generate.ts';
import type { GeneratedToken } from './generate.ts';
import { argMax, sampleToken } from './sample.ts';

let device: Device;
beforeAll(() => {
  device = cpuDevice();
});
afterAll(() => device.dispose());

interface GreedyCase {
  prompt: string;
  promptIds: number[];
  newIds: number[];
  text: string;
}

const greedy = hasShared
  ? (
      JSON.parse(readFileSync(shared('golden/stories260k/reference.json'), 'utf8')) as {
        greedy: { cases: GreedyCase[] };
      }
    ).greedy.cases
  : [];

// golden/stories260k/reference.json: transformers 5.17, f32, argmax, no stop tokens.
describe.skipIf(!hasShared)('stories260k', () => {
  it.each(greedy)(
    'the reference continues "$prompt" greedily in the same words',
    async ({ prompt, promptIds, newIds, text }) => {
      const model = folderModel(shared('models/stories260k'));
      const heard: GeneratedToken[] = [];
      const options = { device, prompt, maxTokens: newIds.length, stopTokenIds: [] };
      const result = await generate(model, { ...options, onToken: (token) => heard.push(token) });
      expect([...result.promptIds]).toEqual(promptIds);
      expect([...result.ids]).toEqual(newIds);
      expect(prompt + result.text).toBe(text);
      expect(result.finish).toBe('length');
      expect(heard.map(({ text: part }) => part).join('')).toBe(result.text);
      expect(heard.map(({ id }) => id)).toEqual(newIds);
    },
  );

  it('the same seed draws the same text, another seed another', async () => {
    const model = folderModel(shared('models/stories260k'));
    const options = { device, prompt: 'The dog', maxTokens: 24, temperature: 0.9, topP: 0.95 };
    const [a, b, c] = [
      await generate(model, { ...options, seed: 1 }),
      await generate(model, { ...options, seed: 1 }),
      await generate(model, { ...options, seed: 2 }),
    ];
    expect(a.ids).toEqual(b.ids);
    expect(a.text).not.toBe(c.text);
  });
});

const config = {
  model_type: 'mistral',
  vocab_size: 50,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  max_position_embeddings: 40,
  sliding_window: 5,
};

describe('a made-up model with a sliding window', () => {
  const model = madeUpModel(config);

  it('each step has the logits of the whole text so far', async () => {
    const result = await generate(model, { device, ids: [7, 3, 11, 30], maxTokens: 20, stopTokenIds: [] });
    const text = [...result.promptIds, ...result.ids];
    const { data } = await logits(model, text, { device });
    const wanted = text.slice(0, -1).map((_, t) => argMax(data.subarray(t * 50, (t + 1) * 50)));
    expect([...result.ids]).toEqual(wanted.slice(3));
  });

  it('weights that do not fit are read at each step, with the same result', async () => {
    let reads = 0;
    const weights = new Map(
      [...model.weights].map(([name, weight]) => [
        name,
        { ...weight, bytes: (start?: number, end?: number) => (reads++, (weight as DenseWeight).bytes(start, end)) },
      ]),
    );
    const options = { device, ids: [7, 3, 11, 30], maxTokens: 5, stopTokenIds: [] };
    const roomy = await generate({ ...model, weights }, options);
    const readsWhenKept = reads;
    reads = 0;
    const refusal = generate(model, { ...options, memoryLimitBytes: 1 });
    const { details } = (await refusal.catch((error: unknown) => error)) as PithError;
    const memoryLimitBytes = details['neededBytes'] as number;
    const tight = await generate({ ...model, weights }, { ...options, memoryLimitBytes });
    expect(tight.ids).toEqual(roomy.ids);
    expect(reads).toBeGreaterThan(3 * readsWhenKept);
  });

  it('stops where the positions end, and says so', async () => {
    const result = await generate(model, { device, ids: [1, 2, 3], maxTokens: 100, stopTokenIds: [] });
    expect(result).toMatchObject({ finish: 'context', stopTokenId: null, text: null });
    expect(result.ids).toHaveLength(37);
  });

  it('stops at a stop token, which is not part of the text', async () => {
    const free = await generate(model, { device, ids: [7, 3, 11, 30], maxTokens: 10, stopTokenIds: [] });
    const stop = free.ids[4];
    const result = await generate(model, { device, ids: [7, 3, 11, 30], maxTokens: 10, stopTokenIds: [stop] });
    expect(result).toMatchObject({ finish: 'stop', stopTokenId: stop });
    expect([...result.ids]).toEqual([...free.ids.subarray(0, free.ids.indexOf(stop))]);
  });

  it.each([
    ['GENERATE_OPTIONS', {}],
    ['GENERATE_OPTIONS', { prompt: 'a', ids: [1] }],
    ['GENERATE_OPTIONS', { ids: [] }],
    ['GENERATE_OPTIONS', { ids: [1], temperature: -1 }],
    ['GENERATE_OPTIONS', { ids: [1], topP: 0 }],
    ['GENERATE_OPTIONS', { ids: [1], maxTokens: 0 }],
    ['GENERATE_OPTIONS', { ids: [1], seed: 0.5 }],
    ['TOKEN_OUT_OF_RANGE', { ids: [50] }],
    ['TOKENIZER_MISSING', { prompt: 'a' }],
    ['CONTEXT_FULL', { ids: new Int32Array(40) }],
    ['MEMORY_LIMIT', { ids: [1], memoryLimitBytes: 1000 }],
    ['STOPPED', { ids: [1], signal: AbortSignal.abort() }],
  ])('refuses with %s', async (code, options) => {
    await expect(generate(model, { device, ...options } as never)).rejects.toMatchObject({ code });
  });
});

describe('sampleToken', () => {
  const values = Float32Array.of(Math.log(0.5), Math.log(0.3), Math.log(0.15), Math.log(0.05));
  const counts = (topP: number, temperature: number) => {
    const random = randomStream(3, 'test');
    const seen = [0, 0, 0, 0];
    for (let i = 0; i < 20_000; i++) seen[sampleToken(values, { temperature, topP }, random)] += 1 / 20_000;
    return seen;
  };

  it('draws each token by its share', () => {
    [0.5, 0.3, 0.15, 0.05].forEach((share, i) => expect(counts(1, 1)[i]).toBeCloseTo(share, 1.7));
  });

  it('temperature 0.5 squares the shares', () => {
    const total = 0.25 + 0.09 + 0.0225 + 0.0025;
    [0.25, 0.09, 0.0225, 0.0025].forEach((share, i) => expect(counts(1, 0.5)[i]).toBeCloseTo(share / total, 1.7));
  });

  it('top-p keeps the smallest set that reaches the share', () => {
    expect(counts(0.5, 1)).toEqual([expect.closeTo(1, 6), 0, 0, 0]);
    const [a, b, c, d] = counts(0.7, 1);
    expect(a).toBeCloseTo(0.625, 1.7);
    expect(b).toBeCloseTo(0.375, 1.7);
    expect([c, d]).toEqual([0, 0]);
  });

  it('temperature 0 takes the first of the largest', () => {
    expect(sampleToken(Float32Array.of(1, 4, 4, 2), { temperature: 0, topP: 1 }, randomStream(1, 'x'))).toBe(1);
  });
});

describe('rotations that depend on the length of the text', () => {
  const longrope = (original: number) => ({
    ...{ model_type: 'llama', vocab_size: 61, hidden_size: 32, intermediate_size: 40, num_hidden_layers: 2 },
    ...{ num_attention_heads: 4, max_position_embeddings: 512, bos_token_id: null, eos_token_id: null },
    rope_scaling: {
      type: 'longrope',
      original_max_position_embeddings: original,
      short_factor: [1, 1.1, 1.3, 1.5],
      long_factor: [2, 3, 5, 9],
    },
  });
  const prompt = (length: number) => Int32Array.from({ length }, (_, i) => (i * 37 + 11) % 60);

  /** The most likely next token, again and again, each time from the whole text. */
  async function fromScratch(model: ReturnType<typeof madeUpModel>, start: Int32Array, count: number) {
    const ids = [...start];
    for (let i = 0; i < count; i++) {
      const { data, shape } = await logits(model, Int32Array.from(ids), { device });
      ids.push(argMax(data.subarray(data.length - shape.at(-1)!)));
    }
    return ids.slice(start.length);
  }

  it('a text that grows beyond the original length goes on as if it had been read at once', async () => {
    const model = madeUpModel(longrope(12));
    const ids = prompt(8);
    const result = await generate(model, { device, ids, maxTokens: 10 });
    expect([...result.ids]).toEqual(await fromScratch(model, ids, 10));
  });

  it('a prompt that is taken in by stretches is rotated by its whole length', async () => {
    const model = madeUpModel(longrope(270));
    const ids = prompt(300);
    const result = await generate(model, { device, ids, maxTokens: 2 });
    expect([...result.ids]).toEqual(await fromScratch(model, ids, 2));
  });
});
