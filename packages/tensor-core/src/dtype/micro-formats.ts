// The two formats of microscaling that are no dtype of a stored tensor by themselves: E2M1 codes, of which a byte holds
// two, and E8M0 scales, which are exponents. The constants of both are here and nowhere else.
//
// Source: OCP Microscaling Formats (MX) specification 1.0, sections 5.3.3 and 5.4.1.
import { PithError } from '../errors/pith-error.ts';

/** The values of the codes 0 to 7 of E2M1; code 8 + i is the negative of code i, 8 being minus zero. */
export const E2M1_MAGNITUDES: readonly number[] = Object.freeze([0, 0.5, 1, 1.5, 2, 3, 4, 6]);

/** The largest value of E2M1. */
export const E2M1_MAX = 6;

/** Bias of the exponents of E8M0: a stored byte e stands for 2^(e - 127). */
export const E8M0_BIAS = 127;

/** The byte of E8M0 that is not a number. */
export const E8M0_NAN = 255;

/** Codes of E2M1, one to a byte, as f32. Bits above the fourth must be 0. */
export function e2m1ToF32(codes: Int8Array | Uint8Array): Float32Array {
  return Float32Array.from(codes, (code) => {
    const magnitude = E2M1_MAGNITUDES[code & 7]!;
    return (code & 8) === 0 ? magnitude : -magnitude;
  });
}

/** Exponents of E8M0 as f32: 2^(e - 127), exact; NaN for 255. */
export function e8m0ToF32(exponents: Uint8Array): Float32Array {
  return Float32Array.from(exponents, (exponent) => (exponent === E8M0_NAN ? NaN : 2 ** (exponent - E8M0_BIAS)));
}

/**
 * Powers of two from 2^-127 to 2^127 as exponents of E8M0.
 *
 * @throws PithError `SCALE_NOT_POWER_OF_TWO`
 */
export function f32ToE8m0(scales: Float32Array): Uint8Array {
  const bits = new Uint32Array(scales.buffer, scales.byteOffset, scales.length);
  return Uint8Array.from(scales, (scale, i) => {
    // Powers of two have no mantissa; 2^-127 is the one subnormal among them.
    const exponent = scale === 2 ** -E8M0_BIAS ? 0 : bits[i]! >>> 23;
    if ((bits[i]! << 9 === 0 && exponent > 0 && exponent < E8M0_NAN) || scale === 2 ** -E8M0_BIAS) return exponent;
    const text = `to e8m0: scales must be powers of two from 2^-127 to 2^127, got ${scale}`;
    throw new PithError('SCALE_NOT_POWER_OF_TWO', text, { kind: 'internal', details: { scale: String(scale) } });
  });
}

/** Two codes of 4 bits to a byte, the first in the low nibble; an odd last code leaves the high nibble 0. */
export function packNibbles(codes: Int8Array | Uint8Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(codes.length / 2));
  for (let i = 0; i < codes.length; i += 2) bytes[i >> 1] = (codes[i]! & 15) | ((codes[i + 1]! & 15) << 4);
  return bytes;
}

/** The codes of {@link packNibbles}: twice as many as bytes. */
export function unpackNibbles(bytes: Uint8Array): Uint8Array {
  const codes = new Uint8Array(bytes.length * 2);
  for (let i = 0; i < bytes.length; i++) {
    codes[2 * i] = bytes[i]! & 15;
    codes[2 * i + 1] = bytes[i]! >> 4;
  }
  return codes;
}
