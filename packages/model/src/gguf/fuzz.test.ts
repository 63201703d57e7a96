// GGUF files from strangers, thousands of damaged ones: each is a model, or is refused with a PithError that names what is wrong.
// What is damaged is what the header says, by key and value, which changes to single bytes would hardly reach.
import { openGguf, planGguf, type GgufArray, type GgufTensorSpec, type GgufValue } from '@pith/checkpoint';
import { isPithError, memoryBytes, randomStream, type RandomStream } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { modelFromCheckpoint } from '../node/open-model.ts';
import { ggufCheckpoint, type GgufStore } from './gguf-checkpoint.ts';

const CASES = 600;

const u32 = (value: number): GgufValue => ({ type: 'uint32', value });
const f32 = (value: number): GgufValue => ({ type: 'float32', value: Math.fround(value) });
const text = (value: string): GgufValue => ({ type: 'string', value });
const list = (items: GgufArray): GgufValue => ({ type: 'array', items });

/** 40 tokens: <unk>, BOS, EOS, three bytes, letters and pairs of them. */
const TOKENS = Array.from({ length: 40 }, (_, id) => {
  if (id < 3) return ['<unk>', '<s>', '</s>'][id]!;
  if (id < 6) return `<0x0${id}>`;
  const letter = (at: number) => String.fromCharCode(97 + (at % 20));
  return id < 26 ? letter(id) : letter(id) + letter(id + 1);
});
const TYPES = TOKENS.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 6 ? 6 : 1));

function tokenizer(kind: 'llama' | 'gpt2'): [string, GgufValue][] {
  return [
    ['tokenizer.ggml.model', text(kind)],
    ['tokenizer.ggml.pre', text(kind === 'llama' ? 'default' : 'gpt-2')],
    ['tokenizer.ggml.tokens', list({ type: 'string', values: TOKENS })],
    ['tokenizer.ggml.token_type', list({ type: 'int32', values: TYPES })],
    kind === 'llama'
      ? ['tokenizer.ggml.scores', list({ type: 'float32', values: TOKENS.map((_, id) => -id) })]
      : ['tokenizer.ggml.merges', list({ type: 'string', values: ['g h', 'h i', 'i j'] })],
    ['tokenizer.ggml.bos_token_id', u32(1)],
    ['tokenizer.ggml.eos_token_id', u32(2)],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: true }],
    ['tokenizer.chat_template', text('{{ messages }}')],
  ];
}

interface Header {
  readonly metadata: Map<string, GgufValue>;
  readonly tensors: GgufTensorSpec[];
}

const [HIDDEN, FEED, VOCABULARY] = [32, 64, 40];
const tensor = (name: string, ...shape: number[]): GgufTensorSpec => ({
  name: `${name}.weight`,
  type: shape.length > 1 ? 'q8_0' : 'f32',
  shape,
});

function sizes(architecture: string, more: Readonly<Record<string, GgufValue>> = {}): [string, GgufValue][] {
  const own: Readonly<Record<string, GgufValue>> = {
    block_count: u32(2),
    context_length: u32(64),
    embedding_length: u32(HIDDEN),
    feed_forward_length: u32(FEED),
    'attention.head_count': u32(4),
    'attention.head_count_kv': u32(2),
    'rope.freq_base': f32(10_000),
    'rope.dimension_count': u32(8),
    ...more,
  };
  return [
    ['general.architecture', text(architecture)],
    ...Object.entries(own).map(([key, value]): [string, GgufValue] => [`${architecture}.${key}`, value]),
  ];
}

const BASES: Readonly<Record<string, () => Header>> = {
  'llama with scaled frequencies': () => ({
    metadata: new Map([
      ...sizes('llama', { 'attention.layer_norm_rms_epsilon': f32(1e-5), 'rope.scaling.factor': f32(8) }),
      ...tokenizer('llama'),
    ]),
    tensors: [
      tensor('token_embd', VOCABULARY, HIDDEN),
      tensor('rope_freqs', 4),
      ...[0, 1].flatMap((i) => [
        tensor(`blk.${i}.attn_norm`, HIDDEN),
        tensor(`blk.${i}.ffn_norm`, HIDDEN),
        tensor(`blk.${i}.attn_q`, HIDDEN, HIDDEN),
        tensor(`blk.${i}.attn_k`, HIDDEN / 2, HIDDEN),
        tensor(`blk.${i}.attn_v`, HIDDEN / 2, HIDDEN),
        tensor(`blk.${i}.attn_output`, HIDDEN, HIDDEN),
        tensor(`blk.${i}.ffn_gate`, FEED, HIDDEN),
        tensor(`blk.${i}.ffn_up`, FEED, HIDDEN),
        tensor(`blk.${i}.ffn_down`, HIDDEN, FEED),
      ]),
      tensor('output_norm', HIDDEN),
    ],
  }),
  'mixtral, whose experts are stacked': () => ({
    metadata: new Map([
      ...sizes('llama', {
        'attention.layer_norm_rms_epsilon': f32(1e-5),
        expert_count: u32(3),
        expert_used_count: u32(2),
      }),
      ...tokenizer('gpt2'),
    ]),
    tensors: [
      tensor('token_embd', VOCABULARY, HIDDEN),
      ...[0, 1].flatMap((i) => [
        tensor(`blk.${i}.attn_norm`, HIDDEN),
        tensor(`blk.${i}.ffn_norm`, HIDDEN),
        tensor(`blk.${i}.attn_q`, HIDDEN, HIDDEN),
        tensor(`blk.${i}.attn_k`, HIDDEN / 2, HIDDEN),
        tensor(`blk.${i}.attn_v`, HIDDEN / 2, HIDDEN),
        tensor(`blk.${i}.attn_output`, HIDDEN, HIDDEN),
        tensor(`blk.${i}.ffn_gate_inp`, 3, HIDDEN),
        tensor(`blk.${i}.ffn_gate_exps`, 3, FEED, HIDDEN),
        tensor(`blk.${i}.ffn_up_exps`, 3, FEED, HIDDEN),
        tensor(`blk.${i}.ffn_down_exps`, 3, HIDDEN, FEED),
      ]),
      tensor('output_norm', HIDDEN),
      tensor('output', VOCABULARY, HIDDEN),
    ],
  }),
  'mixtral, whose experts have a tensor each': () => ({
    metadata: new Map([
      ...sizes('llama', {
        'attention.layer_norm_rms_epsilon': f32(1e-5),
        expert_count: u32(3),
        expert_used_count: u32(2),
      }),
      ...tokenizer('gpt2'),
    ]),
    tensors: [
      tensor('token_embd', VOCABULARY, HIDDEN),
      ...[0, 1].flatMap((i) => [
        tensor(`blk.${i}.attn_norm`, HIDDEN),
        tensor(`blk.${i}.ffn_norm`, HIDDEN),
        tensor(`blk.${i}.attn_q`, HIDDEN, HIDDEN),
        tensor(`blk.${i}.attn_k`, HIDDEN / 2, HIDDEN),
        tensor(`blk.${i}.attn_v`, HIDDEN / 2, HIDDEN),
        tensor(`blk.${i}.attn_output`, HIDDEN, HIDDEN),
        tensor(`blk.${i}.ffn_gate_inp`, 3, HIDDEN),
        ...[0, 1, 2].flatMap((expert) => [
          tensor(`blk.${i}.ffn_gate.${expert}`, FEED, HIDDEN),
          tensor(`blk.${i}.ffn_up.${expert}`, FEED, HIDDEN),
          tensor(`blk.${i}.ffn_down.${expert}`, HIDDEN, FEED),
        ]),
      ]),
      tensor('output_norm', HIDDEN),
      tensor('output', VOCABULARY, HIDDEN),
    ],
  }),
  'gemma3 with windows': () => ({
    metadata: new Map([
      ...sizes('gemma3', {
        'attention.layer_norm_rms_epsilon': f32(1e-6),
        'attention.key_length': u32(8),
        'attention.sliding_window': u32(8),
        'attention.sliding_window_pattern': list({ type: 'bool', values: [true, false] }),
      }),
      ...tokenizer('llama'),
    ]),
    tensors: [
      tensor('token_embd', VOCABULARY, HIDDEN),
      ...[0, 1].flatMap((i) => [
        ...['attn_norm', 'post_attention_norm', 'ffn_norm', 'post_ffw_norm'].map((name) =>
          tensor(`blk.${i}.${name}`, HIDDEN),
        ),
        tensor(`blk.${i}.attn_q`, HIDDEN, HIDDEN),
        tensor(`blk.${i}.attn_k`, HIDDEN / 2, HIDDEN),
        tensor(`blk.${i}.attn_v`, HIDDEN / 2, HIDDEN),
        tensor(`blk.${i}.attn_q_norm`, 8),
        tensor(`blk.${i}.attn_k_norm`, 8),
        tensor(`blk.${i}.attn_output`, HIDDEN, HIDDEN),
        tensor(`blk.${i}.ffn_gate`, FEED, HIDDEN),
        tensor(`blk.${i}.ffn_up`, FEED, HIDDEN),
        tensor(`blk.${i}.ffn_down`, HIDDEN, FEED),
      ]),
      tensor('output_norm', HIDDEN),
    ],
  }),
};

const NUMBERS = [0, 1, 2, 3, 7, 33, 64, 4096, 65_536, 2 ** 24, 2 ** 31, 2 ** 32 - 1];
const FLOATS = [0, -1, 1e-30, 1e30, Number.NaN, Infinity, 0.5];
const TEXTS = ['', 'llama', 'none', 'yarn', 'linear', 'gpt2', 'bert', '../x', '__proto__', 'x'.repeat(5000), '\u0000'];
const SHAPES = [0, 1, 3, 31, 32, 64, 96, 2 ** 20];

function pick<T>(random: RandomStream, of: readonly T[]): T {
  return of[random.below(of.length)]!;
}

function strangeValue(random: RandomStream, before: GgufValue): GgufValue {
  switch (random.below(7)) {
    case 0:
      return u32(pick(random, NUMBERS));
    case 1:
      return f32(pick(random, FLOATS));
    case 2:
      return text(pick(random, TEXTS));
    case 3:
      return { type: 'uint64', value: pick(random, [0n, 2n ** 40n, 2n ** 63n]) };
    case 4:
      return list({ type: 'int32', values: Array.from({ length: random.below(5) }, () => random.below(100) - 10) });
    case 5:
      return before.type === 'array' && before.items.type !== 'array'
        ? list({ ...before.items, values: damagedList(random, before.items.values) })
        : list({ type: 'array', values: [] });
    default:
      return { type: 'bool', value: random.below(2) === 0 };
  }
}

function damagedList<T>(random: RandomStream, values: readonly T[]): T[] {
  const copy = [...values];
  if (copy.length === 0) return copy;
  const at = random.below(copy.length);
  switch (random.below(4)) {
    case 0:
      return copy.slice(0, at);
    case 1:
      copy[at] = copy[random.below(copy.length)]!;
      return copy;
    case 2:
      if (typeof copy[at] === 'string') copy[at] = pick(random, TEXTS) as T;
      else copy[at] = pick(random, NUMBERS.slice(0, 9)) as T;
      return copy;
    default:
      return [...copy, ...copy];
  }
}

function damage({ metadata, tensors }: Header, random: RandomStream): void {
  for (let changes = 1 + random.below(2); changes > 0; changes--) {
    const key = pick(random, [...metadata.keys()]);
    const at = random.below(tensors.length);
    const { name, type, shape } = tensors[at]!;
    switch (random.below(9)) {
      case 0:
        metadata.delete(key);
        break;
      case 1:
        tensors.splice(at, 1);
        break;
      case 2:
        tensors[at] = { name, type, shape: shape.map((axis) => (random.below(2) === 0 ? axis : pick(random, SHAPES))) };
        break;
      case 3:
        tensors[at] = { name, type: pick(random, ['f32', 'f16', 'q4_0', 'i8', 'q4_k', 'f64'] as const), shape };
        break;
      case 4:
        tensors[at] = { name: name.replace('blk.1', 'blk.2'), type, shape };
        break;
      default:
        metadata.set(key, strangeValue(random, metadata.get(key) ?? u32(0)));
    }
  }
}

const NOISE = Uint8Array.from(
  { length: 4096 },
  (() => {
    const random = randomStream(3, 'noise');
    return () => random.below(256);
  })(),
);

/** Bytes of a file; null for one that cannot be laid out, or would be large. */
function encode({ metadata, tensors }: Header, random: RandomStream): Uint8Array | null {
  try {
    const { header, byteLength, tensors: places } = planGguf(metadata, tensors);
    if (byteLength > 2 ** 21) return null;
    // A piece of what was drawn once: half of such blocks restore to numbers.
    const bytes = new Uint8Array(byteLength);
    for (let at = header.length; at < byteLength; at += NOISE.length) {
      bytes.set(NOISE.subarray(0, Math.min(NOISE.length, byteLength - at)), at);
    }
    bytes.set(header);
    const one = new Uint8Array(Float32Array.of(random.below(20) === 0 ? Number.NaN : 1).buffer);
    for (const { offset, type, byteLength: length } of places) {
      if (type === 'f32') for (let at = 0; at < length; at += 4) bytes.set(one, offset + at);
      // Most files have sound scales.
      else if (type === 'q8_0' && random.below(8) > 0)
        for (let at = 0; at < length; at += 34) bytes[offset + at + 1]! &= 0x3f;
    }
    return bytes;
  } catch (error) {
    if (isPithError(error)) return null;
    throw error;
  }
}

function storeOf(bytes: Uint8Array): GgufStore {
  return {
    label: 'x.gguf',
    first: 'x.gguf',
    fileOf: () => 'x.gguf',
    list: () => Promise.resolve([{ name: 'x.gguf', byteLength: bytes.length, kind: 'file' }]),
    open: () => Promise.resolve(memoryBytes(bytes)),
    close: () => Promise.resolve(),
  };
}

async function read(bytes: Uint8Array): Promise<void> {
  const checkpoint = await ggufCheckpoint(await openGguf(memoryBytes(bytes), 'x.gguf'), storeOf(bytes));
  const model = await modelFromCheckpoint(checkpoint);
  model.tokenizer?.encode('a bc\n');
  let values = 0;
  for (const weight of model.weights.values()) values += (await weight.toF32()).length;
  // The most that a byte can stand for: a little less than a weight of 8 bits.
  if (values > bytes.length) throw new Error('more values than the file can hold');
}

describe.each(Object.entries(BASES))('%s', (name, make) => {
  it('is read as it is', async () => {
    const good = make();
    const plain = encode(good, randomStream(1, name))!;
    const { tensors } = planGguf(good.metadata, good.tensors);
    // Scales of 1 in every block, factors of 1.
    for (const { offset, byteLength, type, name: of } of tensors) {
      if (type === 'q8_0') for (let at = 0; at < byteLength; at += 34) plain.set([0, 0x3c], offset + at);
      if (of === 'rope_freqs.weight') plain.set(new Uint8Array(Float32Array.of(1, 1, 2, 8).buffer), offset);
    }
    await read(plain);
  });

  it('damaged, is read or refused by name', async () => {
    const codes = new Map<string, number>();
    for (let seed = 0; seed < CASES; seed++) {
      const random = randomStream(seed, name);
      const header = make();
      damage(header, random);
      const bytes = encode(header, random);
      if (bytes === null) continue;
      try {
        await read(bytes);
        codes.set('read', (codes.get('read') ?? 0) + 1);
      } catch (error) {
        if (!isPithError(error) || error.kind !== 'input') throw new Error(`seed ${seed}`, { cause: error });
        expect(error.message.length).toBeLessThan(20_000);
        codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
      }
    }
    expect([...codes.keys()]).toEqual(
      expect.arrayContaining([
        'GGUF_KEY_MISSING',
        'GGUF_VALUE_INVALID',
        'GGUF_TENSOR_UNKNOWN',
        'GGUF_LIMIT_EXCEEDED',
        'GGUF_SHAPE_INVALID',
        'WEIGHTS_MISMATCH',
        'CONFIG_INVALID',
        'GGUF_VALUE_NOT_FINITE',
      ]),
    );
  });
});
