// Held to what MLX 0.32.4 made on the CPU of the matrices of golden/compressed-tensors (`mx.quantize`), read as a checkpoint has it.
// Restored values are compared by their SHA-256 (`mx.dequantize`).
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { quantizedWeight, type FloatScheme, type QuantizedWeight } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../json/parse-json.ts';
import { openSafetensorsFile } from '../node/index.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { expectRestored } from '../testing/restored.fixture.ts';
import { mlx } from './format.ts';
import { readMlxWeights } from './read-weights.ts';

interface Case {
  readonly call: string;
  readonly dequantizedF32Sha256: string;
}
const cases = hasShared
  ? Object.entries(
      (JSON.parse(readFileSync(shared('golden/mlx/manifest.json'), 'utf8')) as { cases: Record<string, Case> }).cases,
    )
  : [];

/** What config.json says of a call. */
function codingOf(call: string): JsonObject {
  const [, mode] = /mode='(\w+)'/.exec(call) ?? [];
  if (mode !== undefined) return { group_size: mode === 'nvfp4' ? 16 : 32, bits: mode === 'mxfp8' ? 8 : 4, mode };
  const [, bits, size] = /bits=(\d), group_size=(\d+)/.exec(call)!;
  return { group_size: Number(size), bits: Number(bits), mode: 'affine' };
}

describe.skipIf(!hasShared)('MLX', () => {
  const read = async (name: string, { call }: Case) => {
    const file = await openSafetensorsFile(shared('golden/mlx/tensors.safetensors'));
    const tensors = new Map<string, StoredTensor>();
    for (const [part, golden] of [
      ['weight', 'w'],
      ['scales', 'scales'],
      ['biases', 'biases'],
    ]) {
      const tensor = file.tensors.get(`${name}.${golden}`);
      if (tensor) tensors.set(`m.${part}`, { ...tensor, source: tensor.source, name: `m.${part}` });
    }
    const weights = await readMlxWeights({ quantization: codingOf(call), config: {}, tensors, file: 'config.json' });
    return { weight: weights.get('m.weight') as QuantizedWeight, tensors };
  };

  it.each(cases)('restores %s, all and by rows', async (name, golden) => {
    const { weight, tensors } = await read(name, golden);
    await expectRestored(weight, golden.dequantizedF32Sha256);
    expect(weight.byteLength).toBe([...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0));
  });

  it.each(cases)('writes the bytes of %s again, and its configuration', async (name, golden) => {
    const { weight, tensors } = await read(name, golden);
    const planned = mlx.tensors(weight, {});
    expect(planned.map((tensor) => [tensor.name, tensor.dtype, tensor.shape])).toEqual(
      [...tensors.values()].map((tensor) => [tensor.name, tensor.dtype, tensor.shape]),
    );
    for await (const { name: part, bytes } of mlx.chunks(weight, {})) {
      const { source, byteLength } = tensors.get(part)!;
      expect(Buffer.compare(bytes, await source.read(0, byteLength)), part).toBe(0);
    }
    const said = codingOf(golden.call);
    expect(mlx.config([weight], {}).members).toEqual({ quantization: said, quantization_config: said });
  });
});

const nvfp4: FloatScheme = {
  kind: 'float',
  dtype: 'f4_e2m1',
  granularity: { kind: 'group', size: 16 },
  scaleDType: 'f8_e4m3',
};
const none = () => Promise.reject(new Error('not read'));

describe('floating-point codes that MLX does not have', () => {
  it('is refused with what to do: nvfp4 with a global scale, other groups, other scales', () => {
    const of = (scheme: FloatScheme, globalScale?: number) =>
      quantizedWeight({
        ...{ name: 'm.weight', shape: [2, 64], scheme, read: none },
        ...(globalScale !== undefined && { globalScale }),
      });
    expect(() => mlx.tensors(of(nvfp4, 300), {})).toThrow(/nvfp4 has no scale of the whole tensor.*mlx:nvfp4/);
    expect(mlx.tensors(of(nvfp4, 1), {})).toHaveLength(2);
    const wide: FloatScheme = { ...nvfp4, granularity: { kind: 'group', size: 32 } };
    expect(() => mlx.tensors(of(wide, 1), {})).toThrow(/it holds mxfp4, mxfp8, nvfp4, got others/);
    const fp8: FloatScheme = { ...nvfp4, dtype: 'f8_e4m3', granularity: { kind: 'channel' }, scaleDType: 'f32' };
    expect(() => mlx.tensors(of(fp8), {})).toThrow(expect.objectContaining({ code: 'MLX_SCHEME_UNSUPPORTED' }));
  });

  it('tells modules of other modes by their paths', () => {
    const of = (name: string, scheme: FloatScheme) => ({ name: `${name}.weight`, shape: [2, 64], scheme });
    const mxfp4: FloatScheme = { ...nvfp4, granularity: { kind: 'group', size: 32 }, scaleDType: 'f8_e8m0' };
    const mxfp8: FloatScheme = { ...mxfp4, dtype: 'f8_e4m3' };
    const { members } = mlx.config([of('a', mxfp4), of('b', mxfp4), of('c', mxfp8)], {});
    expect(members['quantization']).toEqual({
      ...{ group_size: 32, bits: 4, mode: 'mxfp4' },
      c: { group_size: 32, bits: 8, mode: 'mxfp8' },
    });
  });
});
