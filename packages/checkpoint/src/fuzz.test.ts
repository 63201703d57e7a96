// Seeded mutation fuzzing of everything that is read from strangers. A case either opens, and then keeps every promise
// of the format, or is refused with a PithError; it never ends in another error, never hangs, and never makes buffers of
// more than the size of the input and a constant. A failing case prints its number: the stream of the seed repeats it.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isPithError, randomStream, type WeightTensor } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { openCheckpointFrom } from './huggingface/checkpoint.ts';
import { parseJsonObject } from './json/parse-json.ts';
import { setMembers } from './json/set-members.ts';
import { planOutput } from './safetensors/plan-output.ts';
import { openSafetensors } from './safetensors/open-safetensors.ts';
import { buildFile, CountingBytes } from './testing/build-safetensors.fixture.ts';
import { countAllocations } from './testing/count-allocations.fixture.ts';
import { memoryStore } from './testing/memory-store.fixture.ts';
import { mutate } from './testing/mutate.fixture.ts';

const SEED = 20261123;
/** Buffers beyond the input itself: text decoders and encoders, 16 bytes for each `weight_shape`. */
const CONSTANT = 64 * 1024;

/** Refusals by code; anything but a PithError is thrown with the number of its case. */
async function outcome(number: number, work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return 'accepted';
  } catch (error) {
    if (isPithError(error) && error.kind === 'input' && error.message.includes(': ')) return error.code;
    throw new Error(`case ${number} ended in ${String(error)}`, { cause: error });
  }
}

/** A safetensors file of given tensors, filled with zeros. */
function file(tensors: Parameters<typeof planOutput>[0]): Uint8Array {
  const [planned] = planOutput(tensors).files;
  const bytes = new Uint8Array(planned!.byteLength);
  bytes.set(planned!.head);
  return bytes;
}

const good = file([
  { name: 'model.embed_tokens.weight', dtype: 'bf16', shape: [4, 3] },
  { name: 'model.norm.weight', dtype: 'f32', shape: [3] },
  { name: 'scalar', dtype: 'i64', shape: [] },
  { name: 'empty', dtype: 'u8', shape: [0, 5] },
  { name: 'nibbles', dtype: 'f4', shape: [2, 2] },
]);

describe('mutated safetensors files', () => {
  it('open soundly or are refused, within their size', async () => {
    const random = randomStream(SEED, 'safetensors');
    const codes = new Map<string, number>();
    for (let i = 0; i < 4000; i += 1) {
      const bytes = mutate(good, random);
      const source = new CountingBytes(bytes);
      const allocated = await countAllocations(async () => {
        const code = await outcome(i, async () => {
          const { tensors, dataOffset } = await openSafetensors(source, 'fuzz');
          let end = dataOffset;
          for (const { offset, byteLength } of tensors.values()) {
            if (offset !== end) throw new Error('not contiguous');
            end += byteLength;
          }
          if (end !== bytes.length) throw new Error('not covered');
        });
        codes.set(code, (codes.get(code) ?? 0) + 1);
      });
      expect(source.bytesRead, `case ${i}`).toBeLessThanOrEqual(bytes.length);
      expect(allocated, `case ${i}`).toBeLessThanOrEqual(bytes.length + CONSTANT);
    }
    // The mutations reach past the JSON: sizes, offsets, dtypes, names.
    expect([...codes.keys()]).toEqual(
      expect.arrayContaining([
        'accepted',
        'SAFETENSORS_HEADER_SYNTAX',
        'SAFETENSORS_HEADER_TOO_LARGE',
        'SAFETENSORS_SIZE_MISMATCH',
        'SAFETENSORS_SHAPE_INVALID',
        'SAFETENSORS_DTYPE_UNKNOWN',
        'SAFETENSORS_FILE_TRUNCATED',
        'SAFETENSORS_TRAILING_BYTES',
      ]),
    );
  });
});

describe('mutated checkpoints', () => {
  const weights = (bits: number) => ({
    num_bits: bits,
    type: 'int',
    symmetric: false,
    strategy: 'group',
    group_size: 4,
  });
  const base = new Map<string, Uint8Array>([
    [
      'config.json',
      new TextEncoder().encode(
        JSON.stringify({
          model_type: 'llama',
          quantization_config: {
            quant_method: 'compressed-tensors',
            format: 'mixed-precision',
            version: '0.19.0',
            config_groups: {
              group_0: { targets: ['Linear'], format: 'pack-quantized', weights: weights(3) },
              group_1: { targets: ['re:.*b'], format: 'int-quantized', weights: { num_bits: 8, strategy: 'channel' } },
            },
            ignore: ['lm_head'],
          },
        }),
      ),
    ],
    [
      'model.safetensors.index.json',
      new TextEncoder().encode(
        JSON.stringify({
          metadata: { total_size: 1 },
          weight_map: {
            'a.weight_packed': 'x.safetensors',
            'a.weight_scale': 'x.safetensors',
            'a.weight_zero_point': 'x.safetensors',
            'a.weight_shape': 'x.safetensors',
            'b.weight': 'y.safetensors',
            'b.weight_scale': 'y.safetensors',
            norm: 'y.safetensors',
          },
        }),
      ),
    ],
    [
      'x.safetensors',
      file([
        { name: 'a.weight_packed', dtype: 'i32', shape: [5, 1] },
        { name: 'a.weight_scale', dtype: 'f16', shape: [5, 2] },
        { name: 'a.weight_zero_point', dtype: 'i32', shape: [1, 2] },
        { name: 'a.weight_shape', dtype: 'i64', shape: [2] },
      ]),
    ],
    [
      'y.safetensors',
      file([
        { name: 'b.weight', dtype: 'i8', shape: [3, 4] },
        { name: 'b.weight_scale', dtype: 'bf16', shape: [3, 1] },
        { name: 'norm', dtype: 'f32', shape: [4] },
      ]),
    ],
  ]);
  // [5, 8] in a.weight_shape, the first tensor of its file.
  const shard = base.get('x.safetensors')!;
  const shape = shard.length - 16 - 20 - 20 - 8;
  new DataView(shard.buffer).setBigInt64(shape, 5n, true);
  new DataView(shard.buffer).setBigInt64(shape + 8, 8n, true);

  it('starts from a checkpoint that opens', async () => {
    const checkpoint = await openCheckpointFrom(memoryStore(base));
    expect([...checkpoint.weights].map(([name, weight]) => [name, weight.kind])).toEqual([
      ['a.weight', 'quantized'],
      ['norm', 'dense'],
      ['b.weight', 'quantized'],
    ]);
  });

  it('open and restore, or are refused, within their size', async () => {
    const random = randomStream(SEED, 'checkpoints');
    const codes = new Map<string, number>();
    const names = [...base.keys()];
    for (let i = 0; i < 3000; i += 1) {
      const name = names[random.below(names.length)]!;
      const files = new Map(base).set(name, mutate(base.get(name)!, random));
      const size = [...files.values()].reduce((sum, bytes) => sum + bytes.length, 0);
      let opened: ReadonlyMap<string, WeightTensor> = new Map();
      const allocated = await countAllocations(async () => {
        const code = await outcome(i, async () => {
          opened = (await openCheckpointFrom(memoryStore(files))).weights;
        });
        codes.set(code, (codes.get(code) ?? 0) + 1);
      });
      expect(allocated, `case ${i}`).toBeLessThanOrEqual(size + CONSTANT);
      for (const weight of opened.values()) {
        await outcome(i, async () => {
          const values = await weight.toF32();
          if (values.length !== weight.shape.reduce((a, b) => a * b, 1)) throw new Error('wrong length');
          // The most that a byte of input can stand for: four 2-bit codes, of four bytes each.
          if (values.byteLength > 16 * size) throw new Error('more values than the file can hold');
        });
      }
    }
    expect(codes.size).toBeGreaterThan(25);
    expect(codes.get('accepted')).toBeGreaterThan(100);
  });
});

describe('mutated sparse checkpoints', () => {
  const bytes = (values: BigInt64Array | Uint8Array) => new Uint8Array(values.buffer);
  // 3 rows of 12 columns: 2, 0 and 3 values of bf16.
  const parts = {
    'a.compressed': { dtype: 'bf16', shape: [5], bytes: new Uint8Array(10).fill(63) },
    'a.bitmask': { dtype: 'u8', shape: [3, 2], bytes: Uint8Array.of(0b10000001, 0, 0, 0, 0b11, 0b1000) },
    'a.row_offsets': { dtype: 'i64', shape: [3], bytes: bytes(BigInt64Array.of(0n, 2n, 2n)) },
    'a.shape': { dtype: 'i64', shape: [2], bytes: bytes(BigInt64Array.of(3n, 12n)) },
  } as const;
  const layout = planOutput(Object.entries(parts).map(([name, { dtype, shape }]) => ({ name, dtype, shape })))
    .files[0]!;
  const shard = new Uint8Array(layout.byteLength);
  shard.set(layout.head);
  for (const { name, offset } of layout.tensors) shard.set(parts[name as keyof typeof parts].bytes, offset);
  const sparsity = { quant_method: 'compressed-tensors', sparsity_config: { format: 'sparse-bitmask' } };
  const base = new Map<string, Uint8Array>([
    ['config.json', new TextEncoder().encode(JSON.stringify({ quantization_config: sparsity }))],
    ['model.safetensors', shard],
  ]);

  it('starts from a checkpoint that opens', async () => {
    const checkpoint = await openCheckpointFrom(memoryStore(base));
    const weight = checkpoint.weight('a.weight');
    expect(weight).toMatchObject({ kind: 'sparse', layout: 'bitmask', shape: [3, 12], kept: 5 });
    expect((await weight.toF32()).findLastIndex((value) => value !== 0)).toBe(2 * 12 + 11);
  });

  it('open and restore, or are refused, within their size', async () => {
    const random = randomStream(SEED, 'sparse');
    const codes = new Map<string, number>();
    const names = [...base.keys()];
    for (let i = 0; i < 3000; i += 1) {
      const name = names[random.below(names.length)]!;
      const files = new Map(base).set(name, mutate(base.get(name)!, random));
      const size = [...files.values()].reduce((sum, file) => sum + file.length, 0);
      let opened: ReadonlyMap<string, WeightTensor> = new Map();
      const allocated = await countAllocations(async () => {
        const code = await outcome(i, async () => {
          opened = (await openCheckpointFrom(memoryStore(files))).weights;
        });
        codes.set(code, (codes.get(code) ?? 0) + 1);
      });
      expect(allocated, `case ${i}`).toBeLessThanOrEqual(size + CONSTANT);
      for (const weight of opened.values()) {
        const code = await outcome(i, async () => {
          const values = await weight.toF32();
          // The most that a byte of input can stand for: eight weights of a mask, of four bytes each.
          if (values.byteLength > 32 * size) throw new Error('more values than the file can hold');
        });
        codes.set(code, (codes.get(code) ?? 0) + 1);
      }
    }
    expect([...codes.keys()]).toEqual(expect.arrayContaining(['CT_SPARSE_INVALID', 'SPARSE_BLOCK_MALFORMED']));
    expect(codes.get('accepted')).toBeGreaterThan(100);
  });
});

describe('mutated config.json', () => {
  const text =
    '{"model_type": "llama", "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "x": [null, true]}, "big": NaN}';

  it('parses or is refused, and editing it keeps every other member', async () => {
    const random = randomStream(SEED, 'config');
    const base = new TextEncoder().encode(text);
    let edited = 0;
    for (let i = 0; i < 3000; i += 1) {
      const bytes = mutate(base, random);
      await outcome(i, async () => {
        const before = parseJsonObject(bytes);
        const source = new TextDecoder().decode(bytes);
        const after = parseJsonObject(
          new TextEncoder().encode(setMembers(source, { added: { a: [1] }, model_type: undefined })),
        );
        expect(after).toEqual({ ...withoutModelType(before), added: { a: [1] } });
        edited += 1;
      });
    }
    expect(edited).toBeGreaterThan(100);
    expect(Object.prototype).toEqual({});
  });

  const withoutModelType = (object: object): object => {
    const { model_type: _, ...rest } = object as Record<string, unknown>;
    return rest;
  };
});

describe('memory', () => {
  it('is counted where it is allocated', async () => {
    const allocated = await countAllocations(async () => planOutput([{ name: 'a', dtype: 'u8', shape: [1] }]));
    expect(allocated).toBeGreaterThan(64);
  });

  it('for the parsed entries is a small multiple of the header, even of the most wasteful one', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const entries = Array.from(
      { length: 60_000 },
      (_, i) => `"${i}":{"dtype":"U8","shape":[],"data_offsets":[${i},${i + 1}]}`,
    );
    const bytes = buildFile(`{${entries.join(',')}}`, entries.length);
    collect();
    const before = process.memoryUsage().heapUsed;
    const opened = await openSafetensors(new CountingBytes(bytes), 'wide');
    collect();
    const used = process.memoryUsage().heapUsed - before;
    expect(opened.tensors.size).toBe(entries.length);
    expect(used / opened.dataOffset).toBeLessThan(8);
  });
});

describe('random bytes', () => {
  it('are refused', async () => {
    const random = randomStream(SEED, 'random');
    for (let i = 0; i < 500; i += 1) {
      const bytes = Uint8Array.from({ length: random.below(64) }, () => random.below(256));
      expect(await outcome(i, () => openSafetensors(new CountingBytes(bytes), 'fuzz'))).not.toBe('accepted');
      const header = buildFile(bytes);
      expect(await outcome(i, () => openSafetensors(new CountingBytes(header), 'fuzz'))).not.toBe('accepted');
    }
  });
});
