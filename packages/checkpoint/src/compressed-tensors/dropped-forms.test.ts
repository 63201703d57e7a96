// Forms that later versions of the library neither read nor write: sparse codes, and marlin-24. Held to tensors that version 0.9.4
// made, restored by its own arithmetic.
import { createHash } from 'node:crypto';
import { isPithError, randomStream } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { stored } from '../testing/stored.fixture.ts';
import fixture from './dropped-forms.fixture.json' with { type: 'json' };
import { readQuantizationConfig } from './quantization-config.ts';
import { readCompressedWeights } from './read-weights.ts';

type Name = keyof typeof fixture.cases;
type Entries = Readonly<Record<string, { dtype: string; shape: number[]; base64: string }>>;

function tensorsOf(name: Name): Map<string, StoredTensor> {
  const entries = fixture.cases[name].tensors as unknown as Entries;
  return new Map(
    Object.entries(entries).map(([tensor, { dtype, shape, base64 }]) => [
      tensor,
      stored(tensor, dtype as StoredTensor['dtype'], shape, new Uint8Array(Buffer.from(base64, 'base64'))),
    ]),
  );
}

const args = (more: object) => ({ type: 'int', symmetric: true, dynamic: false, ...more });
const MARLIN = {
  'int4-group': args({ num_bits: 4, strategy: 'group', group_size: 128 }),
  'int4-group-unshuffled': args({ num_bits: 4, strategy: 'group', group_size: 128 }),
  'int8-channel': args({ num_bits: 8, strategy: 'channel' }),
} as const;
const marlin = (weights: object, more: object = {}) => ({
  quant_method: 'compressed-tensors',
  format: 'marlin-24',
  config_groups: { group_0: { targets: ['Linear'], weights, ...more } },
});

const sha256 = (values: Float32Array) =>
  // -0 of fp8 codes and of products with 0 counts as 0.
  createHash('sha256')
    .update(new Uint8Array(values.map((value) => value + 0).buffer))
    .digest('hex');

const read = (tensors: ReadonlyMap<string, StoredTensor>, config: object) =>
  readCompressedWeights(tensors, readQuantizationConfig(config as never, 'config.json'));

describe('marlin-24', () => {
  it.each(Object.keys(MARLIN) as (keyof typeof MARLIN)[])('restores %s, whole and in rows', async (name) => {
    const weights = await read(tensorsOf(name), marlin(MARLIN[name]));
    expect([...weights.keys()]).toEqual(['m.weight']);
    const weight = weights.get('m.weight')!;
    const { shape, restoredF32Sha256 } = fixture.cases[name];
    expect(weight).toMatchObject({ kind: 'quantized', shape, scheme: { bits: fixture.cases[name].bits } });
    const whole = await weight.toF32();
    expect(sha256(whole)).toBe(restoredF32Sha256);
    const [rows, columns] = shape as [number, number];
    for (const [start, end] of [
      [0, 1],
      [5, 5],
      [3, 62],
      [rows - 1, rows],
    ] as const) {
      expect(await weight.toF32(start, end)).toEqual(whole.slice(start * columns, end * columns));
    }
    const bytes = [...tensorsOf(name).values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(weight.byteLength).toBe(bytes);
  });

  it('chooses the group whose shapes fit', async () => {
    const config = {
      quant_method: 'compressed-tensors',
      config_groups: {
        wide: { format: 'marlin-24', weights: MARLIN['int8-channel'] },
        narrow: { format: 'marlin-24', weights: MARLIN['int4-group'] },
      },
    };
    const weight = (await read(tensorsOf('int4-group'), config)).get('m.weight')!;
    expect(sha256(await weight.toF32())).toBe(fixture.cases['int4-group'].restoredF32Sha256);
  });

  it('refuses groups that the kernel has not, by name', () => {
    for (const [weights, says] of [
      [args({ num_bits: 3, strategy: 'channel' }), '3-bit int codes in the format marlin-24'],
      [args({ num_bits: 4, strategy: 'group', group_size: 64 }), 'groups of 64, not 128, in the format marlin-24'],
      [args({ num_bits: 4, strategy: 'tensor' }), 'strategy "tensor" in the format marlin-24'],
      [args({ num_bits: 4, strategy: 'channel', symmetric: false }), 'zero points in the format marlin-24'],
    ] as const) {
      expect(() => readQuantizationConfig(marlin(weights) as never, 'config.json')).toThrow(says);
    }
    const inputs = { input_activations: { num_bits: 8, strategy: 'token', dynamic: true } };
    expect(() => readQuantizationConfig(marlin(MARLIN['int8-channel'], inputs) as never, 'c')).toThrow(
      'quantized activations in the format marlin-24',
    );
  });

  it('names what is missing, does not fit, or is no number', async () => {
    const config = marlin(MARLIN['int8-channel']);
    const without = tensorsOf('int8-channel');
    without.delete('m.meta');
    await expect(read(without, config)).rejects.toMatchObject({ code: 'CT_TENSOR_MISSING' });
    const cut = tensorsOf('int8-channel');
    cut.set('m.meta', stored('m.meta', 'i16', [2, 128], new Uint8Array(512)));
    await expect(read(cut, config)).rejects.toMatchObject({ code: 'CT_SHAPE_INVALID' });
    await expect(read(tensorsOf('int8-channel'), marlin(MARLIN['int4-group']))).rejects.toMatchObject({
      code: 'CT_GROUP_UNKNOWN',
    });
    const infinite = tensorsOf('int8-channel');
    const scales = new Uint16Array(128).fill(0x3c00);
    scales[70] = 0x7c00;
    infinite.set('m.scale_packed', stored('m.scale_packed', 'f16', [1, 128], new Uint8Array(scales.buffer)));
    const weight = (await read(infinite, config)).get('m.weight')!;
    expect((await weight.toF32(0, 64))[0]).toBeDefined();
    await expect(weight.toF32()).rejects.toMatchObject({ code: 'CT_SCALE_INVALID', message: /Infinity in row 70/ });
  });
});

const SPARSE = {
  'fp8-24': {
    quant_method: 'compressed-tensors',
    format: 'float-quantized',
    config_groups: {
      group_0: { weights: { num_bits: 8, type: 'float', symmetric: true, strategy: 'tensor', dynamic: false } },
    },
    sparsity_config: { format: 'sparse-24-bitmask', sparsity_structure: '2:4' },
  },
  'int8-bitmask': {
    quant_method: 'compressed-tensors',
    format: 'int-quantized',
    config_groups: { group_0: { weights: args({ num_bits: 8, strategy: 'channel' }) } },
    sparsity_config: { format: 'sparse-bitmask' },
  },
} as const;

describe('sparse and quantized at once', () => {
  it.each(Object.keys(SPARSE) as (keyof typeof SPARSE)[])('restores %s, whole and in rows', async (name) => {
    const weight = (await read(tensorsOf(name), SPARSE[name])).get('m.weight')!;
    const { shape, restoredF32Sha256 } = fixture.cases[name];
    expect(weight).toMatchObject({ kind: 'quantized', shape });
    const whole = await weight.toF32();
    expect(sha256(whole)).toBe(restoredF32Sha256);
    const [rows, columns] = shape as [number, number];
    for (const [start, end] of [
      [2, 3],
      [1, rows - 1],
      [4, 4],
    ] as const) {
      expect(await weight.toF32(start, end)).toEqual(whole.slice(start * columns, end * columns));
    }
    const bytes = [...tensorsOf(name).values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(weight.byteLength).toBe(bytes);
  });

  it('needs a sparsity_config, all its parts, and a mask that fits the codes', async () => {
    const { sparsity_config: _, ...plain } = SPARSE['fp8-24'];
    await expect(read(tensorsOf('fp8-24'), plain)).rejects.toMatchObject({
      code: 'CT_SPARSE_INVALID',
      message: /has no sparsity_config/,
    });
    const without = tensorsOf('fp8-24');
    without.delete('m.bitmask');
    await expect(read(without, SPARSE['fp8-24'])).rejects.toMatchObject({ code: 'CT_TENSOR_MISSING' });
    const filled = tensorsOf('fp8-24');
    filled.set('m.bitmask', stored('m.bitmask', 'u8', [8, 2], new Uint8Array(16).fill(255)));
    const weight = (await read(filled, SPARSE['fp8-24'])).get('m.weight')!;
    await expect(weight.toF32()).rejects.toMatchObject({
      code: 'CT_SPARSE_INVALID',
      message: /keeps 128 codes in rows 0 to 8, 64 are stored/,
    });
  });
});

// Bytes of one tensor are changed at a few places, or it is said to have another shape of as many values. Restored values need not be
// finite: codes of fp8 hold NaN, and the product of a code and a finite scale may overflow.
describe('tensors from strangers', () => {
  const forms: readonly (readonly [Name, object])[] = [
    ...(Object.keys(MARLIN) as (keyof typeof MARLIN)[]).map((name) => [name, marlin(MARLIN[name])] as const),
    ...(Object.keys(SPARSE) as (keyof typeof SPARSE)[]).map((name) => [name, SPARSE[name]] as const),
  ];

  it.each(forms)('of %s are restored, or refused by name', async (name, config) => {
    const random = randomStream(20261127, name);
    const outcomes = new Map<string, number>();
    for (let i = 0; i < 300; i += 1) {
      const tensors = tensorsOf(name);
      const names = [...tensors.keys()];
      const one = tensors.get(names[random.below(names.length)]!)!;
      const bytes = (await one.source.read(0, one.byteLength)).slice();
      const turned = random.below(4) === 0;
      if (!turned)
        for (let n = 1 + random.below(4); n > 0; n -= 1) bytes[random.below(bytes.length)] = random.below(256);
      const shape = turned ? [...one.shape].reverse() : one.shape;
      tensors.set(one.name, stored(one.name, one.dtype, shape, bytes));
      let code = 'restored';
      try {
        const weight = (await read(tensors, config)).get('m.weight')!;
        const values = await weight.toF32();
        expect(values.length, `case ${i}`).toBe(weight.shape.reduce((a, b) => a * b, 1));
      } catch (error) {
        if (!isPithError(error) || error.kind !== 'input') throw new Error(`case ${i}`, { cause: error });
        code = error.code;
      }
      outcomes.set(code, (outcomes.get(code) ?? 0) + 1);
    }
    expect(outcomes.get('restored')).toBeGreaterThan(50);
    expect(outcomes.size).toBeGreaterThan(1);
  });
});
