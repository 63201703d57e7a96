import { describe, expect, it } from 'vitest';
import { decodeFloat, type SmallFloat } from './convert-reference.ts';
import type { DType } from './dtype.ts';
import { DTYPES, dtypeInfo } from './dtype-info.ts';

describe('dtypeInfo', () => {
  it('has every dtype once, under its own name', () => {
    expect(new Set(DTYPES).size).toBe(22);
    for (const dtype of DTYPES) expect(dtypeInfo(dtype).name).toBe(dtype);
  });

  it('agrees with the constants of the language for f64 and integers', () => {
    expect(dtypeInfo('f64')).toMatchObject({
      max: Number.MAX_VALUE,
      min: -Number.MAX_VALUE,
      epsilon: Number.EPSILON,
      smallestSubnormal: Number.MIN_VALUE,
      smallestNormal: 2.2250738585072014e-308,
    });
    expect(dtypeInfo('i32')).toMatchObject({ bits: 32, min: -2147483648, max: 2147483647, epsilon: 1 });
    expect(dtypeInfo('u16')).toMatchObject({ bits: 16, min: 0, max: 65535, family: 'uint' });
    expect(dtypeInfo('i64').min).toBe(Number(-(2n ** 63n)));
    expect(dtypeInfo('u64').max).toBe(Number(2n ** 64n - 1n));
    expect(dtypeInfo('bool')).toMatchObject({ bits: 8, min: 0, max: 1, family: 'bool' });
  });

  it.each([
    ['f32', 0x7f7fffff, 0x3f800001, 0x00800000],
    ['f16', 0x7bff, 0x3c01, 0x0400],
    ['bf16', 0x7f7f, 0x3f81, 0x0080],
    ['f8_e4m3', 0x7e, 0x39, 0x08],
    ['f8_e5m2', 0x7b, 0x3d, 0x04],
  ] as const)('%s: the constants are the values of their codes', (dtype: SmallFloat, max, afterOne, normal) => {
    const info = dtypeInfo(dtype);
    expect(info.max).toBe(decodeFloat(dtype, max));
    expect(info.min).toBe(-info.max);
    expect(info.epsilon).toBe(decodeFloat(dtype, afterOne) - 1);
    expect(info.smallestNormal).toBe(decodeFloat(dtype, normal));
    expect(info.smallestSubnormal).toBe(decodeFloat(dtype, 1));
    expect(Number.isFinite(decodeFloat(dtype, max + 1))).toBe(false);
  });

  it.each([2, 3, 4, 5, 6, 7, 8] as const)('int%i holds two-complement codes', (bits) => {
    expect(dtypeInfo(`int${bits}`)).toMatchObject({
      bits,
      min: -(2 ** bits) / 2,
      max: 2 ** bits / 2 - 1,
      family: 'packed',
    });
  });

  it('refuses an unknown dtype, also one named like a property of objects', () => {
    for (const name of ['float8', 'constructor', '__proto__']) {
      expect(() => dtypeInfo(name as DType)).toThrow(expect.objectContaining({ code: 'DTYPE_UNKNOWN' }));
    }
  });
});
