// The reference quantizer against bytes of compressed-tensors 0.19.0 and llm-compressor 0.14.0.1 (memoryless_minmax);
// calls and rules: golden/compressed-tensors/manifest.json.
import { describe, expect, it } from 'vitest';
import { denseWeight, fromF32, memoryBytes, toF32, unpackNibbles, type QuantizationScheme } from '@pith/tensor-core';
import { hasShared } from '@pith-tooling/vitest/shared';
import { readGolden, unpackRows, valuesOf, type GoldenTensor } from '../golden.fixture.ts';
import { parseScheme } from '../scheme/parse-scheme.ts';
import { resolveScheme, type QuantizableDType } from '../scheme/resolve-scheme.ts';
import { roundTo } from './arithmetic.ts';
import { dequantize, quantize } from './quantize.ts';
import { quantizeWeight } from './quantize-weight.ts';

const CASES: readonly (readonly [folder: string, scheme: string, dtype: QuantizableDType])[] = [
  ['w4a16-g128-sym', 'w4g128', 'f32'],
  ['w4a16-g128-asym', 'w4g128-asym', 'f32'],
  ['w8a16-channel', 'w8', 'f32'],
  ['w8a8-int', 'w8a8', 'f32'],
  ['w8-channel-asym', 'w8a8-asym', 'f32'],
  ['w3a16-g128-sym', 'w3g128', 'f32'],
  ['w4a16-g64-sym-bf16', 'w4g64', 'bf16'],
  ['fp8-channel', 'fp8', 'f32'],
  ['fp8-tensor', 'fp8-tensor', 'f32'],
  ['fp8-block', 'fp8-block', 'f32'],
  ['nvfp4a16', 'nvfp4', 'f32'],
  ['mxfp4a16', 'mxfp4', 'f32'],
  ['mxfp8a16', 'mxfp8', 'f32'],
];

/** Stored scales as what codes are multiplied by. */
function effectiveScales(
  stored: GoldenTensor,
  { granularity }: QuantizationScheme,
  rows: number,
  globalScale: number | undefined,
): Float32Array {
  if (stored.dtype === 'U8') return Float32Array.from(stored.bytes, (exponent) => 2 ** (exponent - 127));
  const values = stored.dtype === 'F8_E4M3' ? toF32('f8_e4m3', stored.bytes) : valuesOf(stored);
  if (globalScale !== undefined) return values.map((scale) => scale / globalScale);
  if (granularity.kind !== 'block') return values;
  const across = stored.shape[1]!;
  return Float32Array.from({ length: rows * across }, (_, i) => {
    return values[Math.floor(i / across / granularity.rows) * across + (i % across)]!;
  });
}

describe.skipIf(!hasShared)('quantize against compressed-tensors', () => {
  const matrices = hasShared ? readGolden('golden/compressed-tensors/matrices.safetensors') : new Map();
  for (const [folder, name, dtype] of CASES) {
    for (const matrix of ['a', 'b', 'edges']) {
      it(`${folder}, matrix ${matrix}`, async () => {
        const golden = readGolden(`golden/compressed-tensors/${folder}/tensors.safetensors`);
        const { shape } = matrices.get(matrix)!;
        const [rows, columns] = shape as [number, number];
        const values = valuesOf(matrices.get(matrix)!).map((value) => roundTo(dtype, value));
        const scheme = resolveScheme(parseScheme(name), dtype);
        const result = quantize({ values, shape: [rows, columns], dtype }, scheme, { kind: 'minmax' });

        const global = golden.get(`${matrix}.weight_global_scale`);
        expect(result.globalScale).toBe(global && valuesOf(global)[0]);
        const scales = golden.get(`${matrix}.weight_scale`)!;
        expect(result.scales).toEqual(effectiveScales(scales, scheme, rows, result.globalScale));
        const packed = golden.get(`${matrix}.weight_packed`);
        const bits = scheme.kind === 'int' ? scheme.bits : 8;
        const codes =
          packed?.dtype === 'U8'
            ? unpackNibbles(packed.bytes)
            : packed
              ? unpackRows(packed.bytes, rows, columns, bits)
              : golden.get(`${matrix}.weight`)!.bytes;
        expect(new Int8Array(result.codes.buffer)).toEqual(new Int8Array(codes.buffer));

        const zeros = golden.get(`${matrix}.weight_zero_point`);
        expect(result.zeroPoints === undefined).toBe(zeros === undefined);
        if (zeros?.dtype === 'I8') expect(result.zeroPoints).toEqual(new Int8Array(zeros.bytes.buffer));
        if (zeros?.dtype === 'I32') {
          // Packed along the rows: a bit stream per group, whose words lie `groups` apart.
          const groups = result.zeroPoints!.length / rows;
          const words = new Int32Array(zeros.bytes.buffer);
          const streams = Int32Array.from(words, (_, i) => {
            const perStream = words.length / groups;
            return words[(i % perStream) * groups + Math.floor(i / perStream)]!;
          });
          const unpacked = unpackRows(new Uint8Array(streams.buffer), groups, rows, bits);
          expect(result.zeroPoints).toEqual(
            result.zeroPoints!.map((_, i) => unpacked[(i % groups) * rows + Math.floor(i / groups)]!),
          );
        }
        // The kernels, on the same bytes.
        const source = memoryBytes(fromF32(dtype, values));
        const dense = denseWeight({ name: matrix, dtype, shape, source });
        const { weight } = await quantizeWeight(dense, { scheme: name });
        const block = await weight.block();
        expect(new Uint8Array(block.codes.buffer)).toEqual(result.codes);
        expect(block.scales).toEqual(result.scales);
        expect(block.zeroPoints).toEqual(result.zeroPoints);
        expect(weight.globalScale).toBe(result.globalScale);
        const exact = golden.get(`${matrix}.decompressed_exact`);
        const decompressed = exact ?? golden.get(`${matrix}.decompressed`);
        if (decompressed && dtype === 'f32') expect(dequantize(result)).toEqual(valuesOf(decompressed));
      });
    }
  }
});
