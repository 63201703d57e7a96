// Held to what the tools of the formats made of the matrices of golden/compressed-tensors: auto-gptq 0.7.1, AutoAWQ 0.2.9,
// MLX 0.32.4 (CPU), bitsandbytes 0.50.2 (CPU); their calls are in the manifests, the rules in golden/formats.md.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { awq, gptq, mlx, type WeightFormat } from '@pith/checkpoint';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import {
  denseWeight,
  fromF32,
  memoryBytes,
  type CodeTable,
  type DenseWeight,
  type QuantizedWeight,
} from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { readGolden, valuesOf } from '../golden.fixture.ts';
import { roundAwq, roundGptq } from './round-integers.ts';
import { roundMlxMode, type MlxMode } from './round-mlx-modes.ts';
import { roundMlx } from './round-mlx.ts';
import { roundTable } from './round-table.ts';

interface Case {
  readonly matrix: string;
  readonly bits: number;
  readonly groupSize: number;
  readonly sym: boolean;
  readonly actOrder: boolean;
  readonly inputDtype: string;
  readonly call: string;
  readonly nestedBlocksize: number | null;
}
const casesOf = (format: string): [string, Case][] =>
  hasShared
    ? Object.entries(
        (JSON.parse(readFileSync(shared(`golden/${format}/manifest.json`), 'utf8')) as { cases: Record<string, Case> })
          .cases,
      )
    : [];
const matrices = hasShared ? readGolden('golden/compressed-tensors/matrices.safetensors') : new Map<string, never>();

function matrix(name: string, dtype: 'f32' | 'f16' | 'bf16' = 'f32'): DenseWeight {
  const golden = matrices.get(name)!;
  return denseWeight({
    name: 'm.weight',
    dtype,
    shape: golden.shape,
    source: memoryBytes(fromF32(dtype, valuesOf(golden))),
  });
}

/** Bytes of stored tensors by what follows the module's name. */
async function stored(format: WeightFormat, weight: QuantizedWeight): Promise<Map<string, Uint8Array>> {
  const parts = new Map<string, number[]>();
  for await (const { name, bytes } of format.chunks(weight, {})) {
    const suffix = name.slice('m.'.length);
    parts.set(suffix, [...(parts.get(suffix) ?? []), ...bytes]);
  }
  return new Map([...parts].map(([name, bytes]) => [name, Uint8Array.from(bytes)]));
}

const expectBytes = (own: Uint8Array | undefined, golden: Uint8Array, what: string) =>
  expect(own && Buffer.compare(own, golden), what).toBe(0);

describe.skipIf(!hasShared)("rounding as a format's own tools do it", () => {
  it.each(casesOf('gptq').filter(([, { actOrder }]) => !actOrder))('GPTQ %s', async (name, golden) => {
    const files = readGolden('golden/gptq/tensors.safetensors');
    const coding = { bits: golden.bits, groupSize: golden.groupSize, symmetric: golden.sym };
    const made = await stored(gptq, roundGptq(matrix(golden.matrix), coding));
    expectBytes(made.get('qweight'), files.get(`${name}.qweight`)!.bytes, 'qweight');
    expectBytes(made.get('scales'), files.get(`${name}.scales`)!.bytes, 'scales');
    const zeros = files.get(golden.sym ? `${name}.qzeros` : `${name}.qzeros_v2`)!;
    expectBytes(made.get('qzeros'), zeros.bytes, 'qzeros');
  });

  it.each(casesOf('awq'))('AWQ %s', async (name, golden) => {
    const files = readGolden('golden/awq/tensors.safetensors');
    const made = await stored(awq, roundAwq(matrix(golden.matrix), golden.groupSize));
    for (const part of ['qweight', 'qzeros', 'scales']) {
      expectBytes(made.get(part), files.get(`${name}.${part}`)!.bytes, part);
    }
  });

  it.each(casesOf('mlx').filter(([name]) => name.startsWith('affine')))('MLX %s', async (name, golden) => {
    const files = readGolden('golden/mlx/tensors.safetensors');
    const dtype = ({ float32: 'f32', float16: 'f16', bfloat16: 'bf16' } as const)[golden.inputDtype as 'float32'];
    const [, bits, groupSize] = /bits=(\d), group_size=(\d+)/.exec(golden.call)!.map(Number);
    const made = await stored(mlx, roundMlx(matrix(golden.matrix, dtype), bits!, groupSize!));
    for (const [part, key] of [
      ['weight', 'w'],
      ['scales', 'scales'],
      ['biases', 'biases'],
    ] as const) {
      expectBytes(made.get(part), files.get(`${name}.${key}`)!.bytes, part);
    }
  });

  it.each(casesOf('mlx').filter(([name]) => !name.startsWith('affine')))('MLX %s', async (name, golden) => {
    const files = readGolden('golden/mlx/tensors.safetensors');
    const [, mode] = /mode='(\w+)'/.exec(golden.call)!;
    const made = await stored(mlx, roundMlxMode(matrix(golden.matrix), mode as MlxMode));
    expect([...made.keys()]).toEqual(['weight', 'scales']);
    expectBytes(made.get('weight'), files.get(`${name}.w`)!.bytes, 'weight');
    expectBytes(made.get('scales'), files.get(`${name}.scales`)!.bytes, 'scales');
  });

  // The first digits of the SHA-256 of words and scales: `mx.quantize(mx.array(matrix).astype(dtype), mode=...)`, MLX 0.32.4 (CPU).
  it.each([
    ['a', 'bf16', 'mxfp4', '13371bb89505adc3'],
    ['a', 'bf16', 'mxfp8', '64cbcb63ebe9f1e8'],
    ['a', 'bf16', 'nvfp4', '6442b2bb0741b365'],
    ['a', 'f16', 'mxfp4', 'a7f6a03e4adb9d6f'],
    ['a', 'f16', 'mxfp8', '27ffbd211d02e963'],
    ['a', 'f16', 'nvfp4', 'f12d2357222fd6a5'],
    ['edges', 'bf16', 'mxfp4', 'baabf29886799bf0'],
    ['edges', 'bf16', 'mxfp8', 'a790edcf04e59853'],
    ['edges', 'bf16', 'nvfp4', '7171d49162a3fe24'],
    ['edges', 'f16', 'mxfp4', 'bc4aabbe1e36a644'],
    ['edges', 'f16', 'mxfp8', 'adca5e707a9a0767'],
    ['edges', 'f16', 'nvfp4', 'e4deedd1e54ea8a5'],
  ] as const)('MLX modes of %s in %s, %s', async (name, dtype, mode, digest) => {
    const made = await stored(mlx, roundMlxMode(matrix(name, dtype), mode));
    const hash = createHash('sha256').update(made.get('weight')!).update(made.get('scales')!).digest('hex');
    expect(hash.slice(0, 16)).toBe(digest);
  });

  it.each(casesOf('bitsandbytes').filter(([, { nestedBlocksize }]) => nestedBlocksize === null))(
    'bitsandbytes %s',
    async (name, golden) => {
      const files = readGolden('golden/bitsandbytes/tensors.safetensors');
      const [, size, table] = /blocksize=(\d+), quant_type='(\w+)'/.exec(golden.call)!;
      const weight = roundTable(matrix(golden.matrix), table as CodeTable, Number(size));
      const { codes, scales } = await weight.block();
      const packed = Uint8Array.from({ length: codes.length / 2 }, (_, i) => (codes[2 * i]! << 4) | codes[2 * i + 1]!);
      expectBytes(packed, files.get(`${name}.weight`)!.bytes, 'codes');
      expect(scales).toEqual(valuesOf(files.get(`${name}.absmax`)!));
    },
  );

  it('blocks that lie across rows: any rows give what all give', async () => {
    const values = Float32Array.from({ length: 7 * 172 }, (_, i) => Math.sin(i * i));
    const source = memoryBytes(new Uint8Array(values.buffer));
    const weight = roundTable(denseWeight({ name: 'w', dtype: 'f32', shape: [7, 172], source }), 'nf4', 64);
    const all = await weight.toF32();
    for (let start = 0; start < 7; start += 1) {
      for (let end = start + 1; end <= 7; end += 1) {
        expect(await weight.toF32(start, end)).toEqual(all.slice(start * 172, end * 172));
      }
    }
    // The last block is short: 1204 = 18 * 64 + 52.
    const most = values.slice(18 * 64).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const { scales } = await weight.block();
    expect(scales.at(-1)).toBe(most);
  });
});
