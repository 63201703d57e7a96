import { describe, expect, it } from 'vitest';
import { toF32 } from '../dtype/convert.ts';
import { e8m0ToF32 } from '../dtype/micro-formats.ts';
import { restore } from './restore.ts';
import { restoreReference } from './restore-reference.ts';
import { scaleCount } from './quantized-layout.ts';
import type { CodeBlock, Granularity, QuantizationScheme, ScaleDType } from './weight-tensor.ts';

let state = 1;
const next = (n: number) => (state = (state * 48271) % 2147483647) % n;

/** Random codes and scales: small, large, zero, negative and subnormal ones. */
function randomBlock(scheme: QuantizationScheme, rows: number, columns: number): CodeBlock {
  const count = scaleCount(scheme.granularity, rows, columns);
  const exact = Float32Array.from({ length: count }, () => (next(2000) - 1000) * 2 ** -(next(3) * next(70)));
  const scaleBytes = Uint8Array.from({ length: count * 2 }, () => next(256));
  const scales = scalesOf(scheme, exact, scaleBytes);
  const codes = Uint8Array.from({ length: rows * columns }, () => next(isE2m1(scheme) ? 16 : 256));
  if (scheme.kind === 'float') return { codes, scales };
  const shift = 8 - scheme.bits;
  const signed = new Int8Array(codes.buffer).map((code) => code >> shift);
  if (scheme.symmetric) return { codes: signed, scales };
  return { codes: signed, scales, zeroPoints: Int8Array.from({ length: count }, () => (next(256) - 128) >> shift) };
}

function scalesOf({ scaleDType }: QuantizationScheme, exact: Float32Array, bytes: Uint8Array): Float32Array {
  if (scaleDType === 'f16' || scaleDType === 'bf16') return toF32(scaleDType, bytes);
  return scaleDType === 'f8_e8m0' ? e8m0ToF32(bytes.subarray(0, exact.length)) : exact;
}

const isE2m1 = (scheme: QuantizationScheme) => scheme.kind === 'float' && scheme.dtype === 'f4_e2m1';

const granularities: Granularity[] = [
  { kind: 'tensor' },
  { kind: 'channel' },
  { kind: 'group', size: 3 },
  { kind: 'block', rows: 2, columns: 8 },
];
const micro = (['f8_e8m0', 'f8_e4m3'] as const).flatMap((scaleDType) =>
  granularities.flatMap((granularity): QuantizationScheme[] => [
    { kind: 'float', dtype: 'f4_e2m1', granularity, scaleDType },
    { kind: 'float', dtype: 'f8_e4m3', granularity, scaleDType },
  ]),
);
const cases = (['f32', 'bf16', 'f16'] as ScaleDType[]).flatMap((scaleDType) =>
  granularities.flatMap((granularity): QuantizationScheme[] => [
    { kind: 'int', bits: 8, symmetric: true, granularity, scaleDType },
    { kind: 'int', bits: 8, symmetric: false, granularity, scaleDType },
    { kind: 'int', bits: 3, symmetric: false, granularity, scaleDType },
    { kind: 'float', dtype: 'f8_e4m3', granularity, scaleDType },
    { kind: 'float', dtype: 'f8_e5m2', granularity, scaleDType },
    { kind: 'float', dtype: 'f4_e2m1', granularity, scaleDType },
  ]),
);

/** Equal bit for bit, but for the payload of NaN. */
function expectSame(values: Float32Array, expected: Float32Array): void {
  expect(values.length).toBe(expected.length);
  const wrong = values.findIndex((value, i) => !Object.is(value, expected[i]));
  expect(wrong < 0 ? undefined : [wrong, values[wrong], expected[wrong]]).toBeUndefined();
}

describe('restore', () => {
  it.each([...cases, ...micro])(
    'agrees with the reference: $kind $bits$dtype $granularity.kind $scaleDType',
    (scheme) => {
      for (const [rows, columns] of [
        [1, 3],
        [5, 9],
        [7, 33],
        [2, 129],
        [0, 3],
      ] as const) {
        const block = randomBlock(scheme, rows, columns);
        expectSame(restore(block, scheme, rows, columns), restoreReference(block, scheme, rows, columns));
      }
    },
  );

  it.each([
    ['many groups', { kind: 'group', size: 3 }, 400, 999],
    ['long rows', { kind: 'channel' }, 2, 250_001],
    ['one long tensor', { kind: 'tensor' }, 3, 100_003],
    ['tiles with narrow last ones', { kind: 'block', rows: 2, columns: 128 }, 3, 100_003],
  ] as [string, Granularity, number, number][])('works piece by piece: %s', (_, granularity, rows, columns) => {
    for (const scheme of [
      { kind: 'int', bits: 8, symmetric: false, granularity, scaleDType: 'f32' },
      { kind: 'float', dtype: 'f4_e2m1', granularity, scaleDType: 'f8_e8m0' },
    ] as const) {
      const block = randomBlock(scheme, rows, columns);
      expectSame(restore(block, scheme, rows, columns), restoreReference(block, scheme, rows, columns));
    }
  });
});
