// Held to what bitsandbytes 0.50.2 made on the CPU of the matrices of golden/compressed-tensors. Restored values are compared
// by their SHA-256; the names of stored tensors are those of `QuantState.as_dict(packed=True)`.
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { codeTable, type CodeTable, type QuantizedWeight } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { openSafetensorsFile } from '../node/index.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { stored } from '../testing/stored.fixture.ts';
import { expectRestored } from '../testing/restored.fixture.ts';
import { DYNAMIC_MAP } from './dynamic-map.ts';
import { bitsandbytes } from './format.ts';
import { quantStateBytes, STATE_SUFFIX } from './quant-state.ts';
import { readBitsandbytesWeights } from './read-weights.ts';

interface Case {
  readonly matrix: string;
  readonly call: string;
  readonly dequantizedF32Sha256: string;
  readonly nestedBlocksize: number | null;
}
const cases = hasShared
  ? Object.entries(
      (JSON.parse(readFileSync(shared('golden/bitsandbytes/manifest.json'), 'utf8')) as { cases: Record<string, Case> })
        .cases,
    )
  : [];

describe.skipIf(!hasShared)('bitsandbytes', () => {
  const shapes: Readonly<Record<string, readonly [number, number]>> = { a: [96, 256], b: [64, 128], edges: [32, 256] };

  const read = async (name: string, golden: Case) => {
    const file = await openSafetensorsFile(shared('golden/bitsandbytes/tensors.safetensors'));
    const bytesOf = ({ source, byteLength }: StoredTensor) => source.read(0, byteLength);
    const [, size, table] = /blocksize=(\d+), quant_type='(\w+)'/.exec(golden.call)!;
    const codes = table as CodeTable;
    const tensors = new Map<string, StoredTensor>();
    const add = (suffix: string, dtype: StoredTensor['dtype'], shape: readonly number[], bytes: Uint8Array) => {
      tensors.set(`m.weight${suffix}`, stored(`m.weight${suffix}`, dtype, shape, bytes));
    };
    for (const part of ['weight', 'absmax', 'nested_absmax', 'nested_quant_map']) {
      const tensor = file.tensors.get(`${name}.${part}`);
      if (tensor) add(part === 'weight' ? '' : `.${part}`, tensor.dtype, tensor.shape, await bytesOf(tensor));
    }
    const offset = file.tensors.get(`${name}.nested_offset`);
    const nested = offset && {
      blockSize: 256,
      offset: new DataView((await bytesOf(offset)).slice().buffer).getFloat32(0, true),
    };
    const shape = shapes[golden.matrix]!;
    const state = quantStateBytes({
      table: codes,
      blockSize: Number(size),
      valueDType: 'f32',
      shape,
      ...(nested && { nested }),
    });
    const map = await bytesOf(file.tensors.get(`code.${codes}`)!);
    expect(new Uint8Array(codeTable(codes).buffer)).toEqual(Uint8Array.from(map));
    add('.quant_map', 'f32', [16], map);
    add(`.${STATE_SUFFIX[codes]}`, 'u8', [state.length], state);
    const weights = await readBitsandbytesWeights({ quantization: {}, config: {}, tensors, file: 'config.json' });
    return { weight: weights.get('m.weight') as QuantizedWeight, tensors, blockSize: Number(size), nested };
  };

  it.each(cases)('restores %s, all and by rows', async (name, golden) => {
    const { weight } = await read(name, golden);
    await expectRestored(weight, golden.dequantizedF32Sha256);
  });

  it.each(cases.filter(([, { nestedBlocksize }]) => nestedBlocksize === null))(
    'writes %s again',
    async (name, golden) => {
      const { weight, tensors, blockSize } = await read(name, golden);
      const format = bitsandbytes({ blockSize });
      expect(
        format
          .tensors(weight, {})
          .map((tensor) => tensor.name)
          .sort(),
      ).toEqual([...tensors.keys()].sort());
      for await (const { name: part, bytes } of format.chunks(weight, {})) {
        const { source, byteLength } = tensors.get(part)!;
        expect(Buffer.compare(bytes, await source.read(0, byteLength)), part).toBe(0);
      }
    },
  );

  it('codes absolute maxima again as the library does', async () => {
    const { weight } = await read('nf4-b64', Object.fromEntries(cases)['nf4-b64']!);
    const { tensors, nested } = await read('nf4-b64-double', Object.fromEntries(cases)['nf4-b64-double']!);
    for await (const { name, bytes } of bitsandbytes({ double: true }).chunks(weight, {})) {
      const { source, byteLength } = tensors.get(name)!;
      const golden = await source.read(0, byteLength);
      if (!name.includes('quant_state')) expect(Buffer.compare(bytes, golden), name).toBe(0);
      else {
        const state = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>;
        expect(Math.fround(state['nested_offset'] as number)).toBe(nested!.offset);
      }
    }
    expect(DYNAMIC_MAP).toHaveLength(256);
  });
});

describe('LLM.int8()', () => {
  it('restores code * SCB / 127, with what transformers saves beside it', async () => {
    const codes = Int8Array.of(127, -127, 64, 0, 1, -1, 2, -128);
    const maxima = Float32Array.of(2.54, 12.7);
    const tensors = new Map<string, StoredTensor>();
    const add = (name: string, dtype: StoredTensor['dtype'], shape: readonly number[], bytes: Uint8Array) =>
      tensors.set(name, stored(name, dtype, shape, bytes));
    add('m.SCB', 'f32', [2], new Uint8Array(maxima.buffer));
    add('m.weight', 'i8', [2, 4], new Uint8Array(codes.buffer));
    add('m.weight_format', 'u8', [], Uint8Array.of(0));
    const weights = await readBitsandbytesWeights({ quantization: {}, config: {}, tensors, file: 'config.json' });
    expect([...weights.keys()]).toEqual(['m.weight']);
    const expected = Float32Array.from(codes, (code, i) => code * Math.fround(maxima[i >> 2]! / 127));
    const weight = weights.get('m.weight')!;
    expect(await weight.toF32()).toEqual(expected);
    expect(await weight.toF32(1, 2)).toEqual(expected.slice(4));
    expect(expected[0]).toBeCloseTo(2.54, 6);
  });
});
