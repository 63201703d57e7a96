// Held to what hqq 0.2.8 made on the CPU; the fixture says by which calls.
import { readFileSync } from 'node:fs';
import { quantizedWeight, type AffineScheme, type CodeBlock, type IntegerScheme } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { stored } from '../testing/stored.fixture.ts';
import { hqq } from './format.ts';
import { HQQ_SUFFIXES } from './hqq-config.ts';
import { packHqq, packingOf, PACKINGS } from './packing.ts';
import { readHqqWeights } from './read-weights.ts';

interface Golden {
  readonly bits: number;
  readonly groupSize: number;
  readonly axis: number;
  readonly shape: readonly [number, number];
  readonly tensors: Readonly<Record<string, { dtype: string; shape: readonly number[]; hex: string }>>;
  /** f32. */
  readonly restored: string;
}
const { _provenance, ...golden } = JSON.parse(
  readFileSync(new URL('./hqq.fixture.json', import.meta.url), 'utf8'),
) as Record<string, Golden> & { _provenance: string };
const cases = Object.entries(golden as Record<string, Golden>);

const DTYPES: Readonly<Record<string, StoredTensor['dtype']>> = {
  uint8: 'u8',
  int32: 'i32',
  int64: 'i64',
  float16: 'f16',
  bfloat16: 'bf16',
  float32: 'f32',
};
const floats = (hex: string) => new Float32Array(Uint8Array.from(Buffer.from(hex, 'hex')).buffer);

function tensorsOf({ tensors }: Golden): Map<string, StoredTensor> {
  return new Map(
    Object.entries(tensors).map(([suffix, { dtype, shape, hex }]) => {
      const name = `m.${suffix}`;
      return [name, stored(name, DTYPES[dtype]!, shape, Uint8Array.from(Buffer.from(hex, 'hex')))];
    }),
  );
}

const CONFIG = { quant_method: 'hqq', quant_config: { weight_quant_params: { nbits: 4, group_size: 64, axis: 1 } } };
const read = async (tensors: ReadonlyMap<string, StoredTensor>) => {
  const weights = await readHqqWeights({ quantization: CONFIG, config: {}, tensors, file: 'config.json' });
  expect(weights.size).toBe(1);
  return weights.get('m.weight')!;
};

describe('HQQ against hqq', () => {
  it.each(cases)('restores %s, all and by rows', async (_, one) => {
    const tensors = tensorsOf(one);
    const weight = await read(tensors);
    expect(weight).toMatchObject({ kind: 'packed', shape: one.shape, coding: `hqq${one.bits}g${one.groupSize}` });
    const all = await weight.toF32();
    expect(all).toEqual(floats(one.restored));
    const [rows, columns] = one.shape;
    for (let start = 0; start < rows; start += 1) {
      for (const end of [start + 1, rows]) {
        expect(await weight.toF32(start, end)).toEqual(all.slice(start * columns, end * columns));
      }
    }
    expect(weight.byteLength).toBe([...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0));
  });

  it.each(cases.filter(([, { axis, shape, groupSize }]) => axis === 1 && shape[1] % groupSize === 0))(
    'writes the tensors of %s again',
    async (_, one) => {
      const tensors = tensorsOf(one);
      const { bits, groupSize, shape } = one;
      const { dtype } = tensors.get('m.scale')!;
      const scheme: AffineScheme = {
        kind: 'affine',
        bits,
        granularity: { kind: 'group', size: groupSize },
        scaleDType: dtype as 'f16',
      };
      const block = await affineBlock(tensors, scheme, shape);
      const weight = quantizedWeight({
        ...{ name: 'm.weight', shape, scheme },
        read: (start, end) => {
          const at = (list: Float32Array) =>
            list.subarray((start * shape[1]) / groupSize, (end * shape[1]) / groupSize);
          const { codes, scales, biases } = block;
          return Promise.resolve({
            codes: codes.subarray(start * shape[1], end * shape[1]),
            scales: at(scales),
            biases: at(biases!),
          });
        },
      });
      expect(hqq.tensors(weight, {}).map((tensor) => [tensor.name, tensor.dtype, tensor.shape])).toEqual(
        HQQ_SUFFIXES.map((suffix) => `m.${suffix}`)
          .sort((a, b) => order(a) - order(b))
          .map((name) => [name, tensors.get(name)!.dtype, tensors.get(name)!.shape]),
      );
      const written = new Map<string, Uint8Array>();
      for await (const { name, bytes } of hqq.chunks(weight, {})) written.set(name, bytes);
      for (const [name, { source, byteLength }] of tensors) {
        expect(Buffer.compare(written.get(name)!, await source.read(0, byteLength)), name).toBe(0);
      }
    },
  );

  const order = (name: string): number =>
    [...'W_q scale zero nbits group_size shape axis packing unpack_view_dtype view_as_float quant_scale'.split(' ')]
      .concat('quant_zero compute_dtype offload_meta encoded_state_dict stores_quant_config channel_wise'.split(' '))
      .concat('optimize round_zero'.split(' '))
      .indexOf(name.slice(2));
});

/** Codes by the plain rule, scales and offsets in f64 so that zero points come out as they were. */
async function affineBlock(
  tensors: ReadonlyMap<string, StoredTensor>,
  { bits, granularity: { size } }: AffineScheme,
  [rows, columns]: readonly [number, number],
): Promise<CodeBlock> {
  const bytesOf = async (suffix: string) => {
    const { source, byteLength } = tensors.get(`m.${suffix}`)!;
    return source.read(0, byteLength);
  };
  const { toF32 } = await import('@pith/tensor-core');
  const { dtype } = tensors.get('m.scale')!;
  const [scales, zeros] = [toF32(dtype as 'f16', await bytesOf('scale')), toF32(dtype as 'f16', await bytesOf('zero'))];
  const packed = await bytesOf('W_q');
  const { perWord, wordBytes } = packingOf(bits)!;
  const words = wordBytes === 4 ? new Int32Array(packed.slice().buffer) : packed;
  const step = words.length / size;
  const codes = Uint8Array.from({ length: rows * columns }, (_, i) => {
    const group = Math.floor(i / size);
    const shift = (perWord - 1 - Math.floor(group / step)) * bits;
    return (words[(group % step) * size + (i % size)]! >> shift) & (2 ** bits - 1);
  });
  return { codes, scales, biases: scales.map((scale, i) => -zeros[i]! * scale) };
}

describe('packing', () => {
  it('is the example by hand: halves of the rows, the first in the high bits', () => {
    const codes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    expect([...packHqq(codes, 4, 2, PACKINGS['4bit_u8']!)]).toEqual([0x15, 0x26, 0x37, 0x48]);
    expect([
      ...packHqq(
        codes.map((code) => code & 3),
        4,
        2,
        PACKINGS['2bit_u8']!,
      ),
    ]).toEqual([0b01110111, 0b10001000]);
    const words = new Int32Array(
      packHqq(
        codes.map((code) => code & 7),
        4,
        2,
        PACKINGS['3bit_32']!,
      ).buffer,
    );
    // One row of words: code i of the rows at bits 27 - 3i.
    expect([...words]).toEqual([
      (1 << 27) | (3 << 24) | (5 << 21) | (7 << 18),
      (2 << 27) | (4 << 24) | (6 << 21) | (0 << 18),
    ]);
  });
});

describe('what hqq cannot hold', () => {
  const int: IntegerScheme = {
    kind: 'int',
    bits: 4,
    symmetric: false,
    granularity: { kind: 'group', size: 16 },
    scaleDType: 'f16',
  };
  const of = (changes: Partial<IntegerScheme>, shape = [4, 32]) => ({
    name: 'm.weight',
    shape,
    scheme: { ...int, ...changes },
  });

  it('is refused with what to do', () => {
    expect(() => hqq.tensors(of({ bits: 7 }), {})).toThrow(/codes must have 2, 3, 4, 5, 6, 8 bits, got 7/);
    expect(() => hqq.tensors(of({ granularity: { kind: 'tensor' } }), {})).toThrow(/one for each tensor/);
    expect(() => hqq.tensors(of({ granularity: { kind: 'group', size: 24 } }), {})).toThrow(/groups of 24 must divide/);
    expect(() => hqq.tensors(of({ bits: 2 }, [1, 32]), {})).toThrow(/4 groups share a byte, got 2/);
    expect(() => hqq.tensors({ ...of({}), groupIndex: new Int32Array(32) }, {})).toThrow(/act-order/);
    expect(() => hqq.tensors(of({}), { activations: true })).toThrow(/nothing of activations/);
    const mixed = [of({}), { ...of({ bits: 8 }), name: 'n.weight' }];
    expect(() => hqq.config(mixed, {})).toThrow(expect.objectContaining({ code: 'HQQ_MIXED' }));
  });

  it('says what loaders need', () => {
    expect(hqq.config([of({})], { ignore: ['lm_head'] }).members['quantization_config']).toEqual({
      quant_config: {
        offload_meta: false,
        scale_quant_params: null,
        weight_quant_params: {
          ...{ axis: 1, channel_wise: true, group_size: 16, nbits: 4 },
          ...{ optimize: true, round_zero: true, view_as_float: false },
        },
        zero_quant_params: null,
      },
      quant_method: 'hqq',
      skip_modules: ['lm_head'],
    });
  });
});
