import { describe, expect, it } from 'vitest';
import { e2m1ToF32, e8m0ToF32, f32ToE8m0, packNibbles, unpackNibbles } from './micro-formats.ts';

describe('E2M1', () => {
  it('has the sixteen values of the specification: sign, two bits of exponent with bias 1, one of mantissa', () => {
    const values = e2m1ToF32(Uint8Array.from({ length: 16 }, (_, code) => code));
    for (const [code, value] of values.entries()) {
      const sign = code >= 8 ? -1 : 1;
      const [exponent, mantissa] = [(code >> 1) & 3, code & 1];
      const magnitude = exponent === 0 ? mantissa / 2 : (1 + mantissa / 2) * 2 ** (exponent - 1);
      expect(Object.is(value, sign * magnitude), `code ${code}`).toBe(true);
    }
  });
});

describe('E8M0', () => {
  it('stands for powers of two, there and back', () => {
    const all = Uint8Array.from({ length: 255 }, (_, exponent) => exponent);
    const values = e8m0ToF32(all);
    expect([values[0], values[127], values[254]]).toEqual([2 ** -127, 1, 2 ** 127]);
    expect(f32ToE8m0(values)).toEqual(all);
    expect(e8m0ToF32(Uint8Array.of(255))[0]).toBeNaN();
  });

  it.each([0, 3, -1, NaN, Infinity, 2 ** -128])('has no exponent for %d', (value) => {
    expect(() => f32ToE8m0(Float32Array.of(value))).toThrow(
      expect.objectContaining({ code: 'SCALE_NOT_POWER_OF_TWO' }),
    );
  });
});

describe('nibbles', () => {
  it('come two to a byte, the first one low', () => {
    const codes = Uint8Array.of(1, 15, 8, 0, 7);
    expect([...packNibbles(codes)]).toEqual([0xf1, 0x08, 0x07]);
    expect([...unpackNibbles(packNibbles(codes))]).toEqual([1, 15, 8, 0, 7, 0]);
  });
});
