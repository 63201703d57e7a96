import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { isPithError, memoryBytes, randomStream } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { openSafetensors } from '../safetensors/open-safetensors.ts';
import { CountingBytes } from '../testing/build-safetensors.fixture.ts';
import { countAllocations } from '../testing/count-allocations.fixture.ts';
import { mutate } from '../testing/mutate.fixture.ts';
import { planGguf, type GgufTensorSpec } from './encode-header.ts';
import type { GgufValue } from './gguf-file.ts';
import { openGguf } from './open-gguf.ts';
import { restoreBlocks } from './restore-blocks.ts';

const METADATA = new Map<string, GgufValue>([
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['a.uint8', { type: 'uint8', value: 255 }],
  ['a.int8', { type: 'int8', value: -128 }],
  ['a.uint16', { type: 'uint16', value: 65_535 }],
  ['a.int16', { type: 'int16', value: -32_768 }],
  ['a.uint32', { type: 'uint32', value: 4_294_967_295 }],
  ['a.int32', { type: 'int32', value: -2_147_483_648 }],
  ['a.float32', { type: 'float32', value: 0.5 }],
  ['a.float64', { type: 'float64', value: 0.1 }],
  ['a.uint64', { type: 'uint64', value: 2n ** 64n - 1n }],
  ['a.int64', { type: 'int64', value: -(2n ** 63n) }],
  ['a.bool', { type: 'bool', value: true }],
  ['a.strings', { type: 'array', items: { type: 'string', values: ['', 'ä', '\u2581the'] } }],
  [
    'a.nested',
    {
      type: 'array',
      items: {
        type: 'array',
        values: [
          { type: 'int32', values: [1, -2] },
          { type: 'bool', values: [] },
        ],
      },
    },
  ],
]);
const TENSORS: GgufTensorSpec[] = [
  { name: 'token_embd.weight', type: 'q4_0', shape: [3, 64] },
  { name: 'output_norm.weight', type: 'f32', shape: [5] },
  { name: 'scalar', type: 'f16', shape: [] },
  { name: 'empty', type: 'q6_k', shape: [0, 256] },
  { name: 'stack', type: 'q8_0', shape: [2, 3, 32] },
];

/** A file whose tensors are zeros. */
function fileOf(metadata = METADATA, tensors = TENSORS): Uint8Array {
  const { header, byteLength } = planGguf(metadata, tensors);
  const bytes = new Uint8Array(byteLength);
  bytes.set(header);
  return bytes;
}

const open = (bytes: Uint8Array) => openGguf(memoryBytes(bytes), 'x.gguf');
const good = fileOf();

/** A copy in which the bytes of `text` are followed, `skip` bytes later, by other bytes. */
function patched(text: string, skip: number, bytes: readonly number[]): Uint8Array {
  const copy = good.slice();
  const at = Buffer.from(copy.buffer).indexOf(text);
  copy.set(bytes, at + text.length + skip);
  return copy;
}

describe('openGguf', () => {
  it('reads back what planGguf laid out', async () => {
    const { version, metadata, tensors, alignment } = await open(good);
    expect({ version, alignment }).toEqual({ version: 3, alignment: 32 });
    expect(metadata).toEqual(METADATA);
    expect([...tensors.values()].map(({ name, type, shape }) => ({ name, type, shape }))).toEqual(TENSORS);
    expect([...tensors.values()].map(({ byteLength }) => byteLength)).toEqual([108, 20, 2, 0, 204]);
    for (const { offset } of tensors.values()) expect(offset % 32).toBe(0);
  });

  it('keeps another alignment, and reads version 2', async () => {
    const metadata = new Map(METADATA).set('general.alignment', { type: 'uint32', value: 256 });
    const file = await open(fileOf(metadata));
    for (const { offset } of file.tensors.values()) expect(offset % 256).toBe(0);
    const second = good.slice();
    second[4] = 2;
    expect((await open(second)).version).toBe(2);
  });

  it('reads on where a header is longer than the first piece, and no tensor', async () => {
    const words = Array.from({ length: 60_000 }, (_, i) => `a rather long token, number ${i}`);
    const long = new Map(METADATA).set('tokens', { type: 'array', items: { type: 'string', values: words } });
    const bytes = fileOf(long, [...TENSORS, { name: 'large', type: 'f32', shape: [2 ** 22] }]);
    const source = new CountingBytes(bytes);
    const { metadata, dataOffset } = await openGguf(source, 'x.gguf');
    expect(metadata.get('tokens')).toEqual(long.get('tokens'));
    expect(source.bytesRead).toBeLessThan(4 * dataOffset + 2 ** 20);
  });

  it.each([
    ['MAGIC', patched('', 0, [0x58])],
    ['VERSION', patched('GGUF', 0, [1])],
    ['VERSION', patched('GGUF', 0, [0, 0, 0, 3])],
    ['LIMIT_EXCEEDED', patched('GGUF', 4, [255, 255, 255, 255])],
    ['LIMIT_EXCEEDED', patched('GGUF', 12, [255, 255, 255, 255])],
    ['TRUNCATED', good.slice(0, 200)],
    ['TRUNCATED', good.slice(0, good.length - 64)],
    ['TRUNCATED', patched('a.strings', 8, [255, 255, 255])],
    ['NOT_UTF8', patched('general.architectur', 0, [0xff])],
    ['VALUE_TYPE_UNKNOWN', patched('a.int8', 0, [13])],
    ['BOOL_INVALID', patched('a.bool', 4, [2])],
    ['TYPE_UNKNOWN', patched('output_norm.weight', 12, [4])],
    ['SHAPE_INVALID', patched('output_norm.weight', 0, [5])],
    ['SHAPE_INVALID', patched('token_embd.weight', 4, [63])],
    ['OFFSET_INVALID', patched('output_norm.weight', 16, [32])],
  ])('refuses %s by name', async (code, bytes) => {
    await expect(open(bytes)).rejects.toMatchObject({
      code: `GGUF_${code}`,
      message: expect.stringContaining('x.gguf'),
    });
  });

  it('refuses what occurs twice, empty names, deep nesting and odd alignments', async () => {
    const twice = fileOf(METADATA, [TENSORS[1]!, TENSORS[1]!]);
    await expect(open(twice)).rejects.toMatchObject({ code: 'GGUF_DUPLICATE_TENSOR' });
    await expect(open(fileOf(METADATA, [{ ...TENSORS[1]!, name: '' }]))).rejects.toMatchObject({
      code: 'GGUF_NAME_INVALID',
    });
    const empty = new Map<string, GgufValue>([['', { type: 'bool', value: true }]]);
    await expect(open(fileOf(empty))).rejects.toMatchObject({ code: 'GGUF_KEY_INVALID' });
    const pair = new Map<string, GgufValue>([
      ['key.1', { type: 'bool', value: true }],
      ['key.2', { type: 'bool', value: true }],
    ]);
    const same = fileOf(pair);
    same[Buffer.from(same.buffer).indexOf('key.2') + 4] = 0x31;
    await expect(open(same)).rejects.toMatchObject({ code: 'GGUF_DUPLICATE_KEY', details: { key: 'key.1' } });
    let items: GgufValue & { type: 'array' } = { type: 'array', items: { type: 'bool', values: [] } };
    for (let depth = 0; depth < 4; depth++) items = { type: 'array', items: { type: 'array', values: [items.items] } };
    await expect(open(fileOf(new Map([['deep', items]])))).rejects.toMatchObject({ code: 'GGUF_LIMIT_EXCEEDED' });
    const odd = fileOf(new Map<string, GgufValue>([['general.alignment', { type: 'uint32', value: 32 }]]));
    odd[Buffer.from(odd.buffer).indexOf('general.alignment') + 17 + 4] = 33;
    await expect(open(odd)).rejects.toMatchObject({ code: 'GGUF_ALIGNMENT' });
  });

  it('refuses to lay out rows that are no whole blocks', () => {
    expect(() => planGguf(METADATA, [{ name: 'w', type: 'q4_k', shape: [4, 64] }])).toThrow(/w \[4, 64\].*256/);
  });

  it('opens soundly or refuses, within the size of the input, whatever is damaged', async () => {
    const random = randomStream(20261123, 'gguf');
    const codes = new Set<string>();
    for (let i = 0; i < 3000; i++) {
      const bytes = mutate(good, random);
      const allocated = await countAllocations(async () => {
        try {
          const { tensors } = await open(bytes);
          codes.add('opened');
          for (const { offset, byteLength } of tensors.values())
            expect(offset + byteLength).toBeLessThanOrEqual(bytes.length);
        } catch (error) {
          if (!isPithError(error)) throw new Error(`case ${i}`, { cause: error });
          codes.add(error.code);
        }
      });
      expect(allocated).toBeLessThan(4 * bytes.length + 64 * 1024);
    }
    expect(codes.size).toBeGreaterThan(8);
  });
});

describe.skipIf(!hasShared)('a file that llama.cpp made', () => {
  it('holds the weights of the model that it was made of', async () => {
    const bytes = readFileSync(shared('golden/stories260k/stories260k-f16.gguf'));
    const { metadata, tensors } = await openGguf(memoryBytes(bytes), 'stories260k-f16.gguf');
    expect(metadata.get('general.architecture')).toEqual({ type: 'string', value: 'llama' });
    const original = readFileSync(shared('models/stories260k/model.safetensors'));
    const { tensors: dense } = await openSafetensors(memoryBytes(original), 'model.safetensors');
    const pairs = [
      ['token_embd.weight', 'model.embed_tokens.weight'],
      ['blk.3.ffn_down.weight', 'model.layers.3.mlp.down_proj.weight'],
      ['blk.0.attn_norm.weight', 'model.layers.0.input_layernorm.weight'],
    ] as const;
    for (const [name, denseName] of pairs) {
      const tensor = tensors.get(name)!;
      const other = dense.get(denseName)!;
      expect(tensor.shape).toEqual(other.shape);
      const values = restoreBlocks(tensor.type, await tensor.source.read(0, tensor.byteLength));
      const stored = await other.source.read(0, other.byteLength);
      const expected = new Float32Array(stored.buffer.slice(stored.byteOffset, stored.byteOffset + stored.byteLength));
      expected.forEach((value, i) =>
        expect(Math.abs(values[i]! - value)).toBeLessThanOrEqual(2 ** -11 * Math.abs(value) + 2 ** -25),
      );
    }
  });

  it('is written again byte for byte', async () => {
    const bytes = readFileSync(shared('golden/stories260k/stories260k-f16.gguf'));
    const { metadata, tensors } = await openGguf(memoryBytes(bytes), 'stories260k-f16.gguf');
    const layout = planGguf(metadata, [...tensors.values()]);
    const written = new Uint8Array(layout.byteLength);
    written.set(layout.header);
    for (const { name, offset } of layout.tensors) {
      const { source, byteLength } = tensors.get(name)!;
      written.set(await source.read(0, byteLength), offset);
    }
    const digest = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');
    expect(digest(written)).toBe(digest(bytes));
  });
});
