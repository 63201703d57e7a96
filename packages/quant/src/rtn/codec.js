// One value to a code and back, exactly as compressed-tensors 0.19 does it: quotient in the dtype of the arithmetic,
// zero point added, clamped, rounded half to even.
import { roundHalfToEven } from '@pith/tensor-core';
import { bitsOf, f32OfBits, roundTo } from "./arithmetic.js";
/** The codes of a scheme. */
export function codeRange(scheme) {
    if (scheme.kind === 'int') {
        const half = (2 ** scheme.bits - 1) / 2;
        return { lowest: -(2 ** (scheme.bits - 1)), highest: 2 ** (scheme.bits - 1) - 1, half, reach: 1 };
    }
    // The last step of e4m3 is 32 wide, that of e5m2 8192.
    return scheme.dtype === 'f8_e4m3'
        ? { lowest: -448, highest: 448, half: 448, reach: 32 }
        : { lowest: -57344, highest: 57344, half: 57344, reach: 8192 };
}
/** Where a value falls among the codes, before clamping and rounding. */
export function position(value, { scale, zeroPoint }, scheme, arithmetic) {
    const quotient = roundTo(arithmetic, Math.fround(value) / scale);
    if (scheme.kind === 'float')
        return quotient + 0; // -0 becomes +0, as adding a zero point of 0.0 does
    return scheme.symmetric ? quotient : roundTo(arithmetic, quotient + zeroPoint);
}
/** The value that a position is rounded to: an integer, or a value of the float dtype. */
export function roundToCode(at, scheme, { lowest, highest }) {
    const clamped = Math.min(Math.max(at, lowest), highest);
    if (scheme.kind === 'int')
        return roundHalfToEven(clamped);
    const { mantissa, smallestExponent } = layoutOf(scheme.dtype);
    const exponent = Math.max(((bitsOf(clamped) >>> 23) & 0xff) - 127, smallestExponent);
    const unit = 2 ** (exponent - mantissa);
    const rounded = roundHalfToEven(clamped / unit) * unit;
    return rounded === 0 && (clamped < 0 || Object.is(clamped, -0)) ? -0 : rounded;
}
/** The stored byte of a code value: two's complement, or the bits of the float. */
export function codeByte(code, scheme) {
    if (scheme.kind === 'int')
        return code & 0xff;
    const { mantissa, smallestExponent } = layoutOf(scheme.dtype);
    const sign = code < 0 || Object.is(code, -0) ? 0x80 : 0;
    const magnitude = Math.abs(code);
    if (magnitude < 2 ** smallestExponent)
        return sign | (magnitude / 2 ** (smallestExponent - mantissa));
    return sign | ((bitsOf(magnitude) - ((126 + smallestExponent) << 23)) >>> (23 - mantissa));
}
/** The code value of a stored byte. */
export function codeOfByte(byte, scheme) {
    if (scheme.kind === 'int')
        return (byte << 24) >> 24;
    const { mantissa, smallestExponent } = layoutOf(scheme.dtype);
    const magnitude = byte & 0x7f;
    const sign = byte & 0x80 ? -1 : 1;
    if (magnitude >> mantissa === 0)
        return sign * magnitude * 2 ** (smallestExponent - mantissa);
    return sign * f32OfBits((magnitude << (23 - mantissa)) + ((126 + smallestExponent) << 23));
}
/** The f32 that a code stands for: `(code - zeroPoint) * scale`. */
export function restore(code, { scale, zeroPoint }) {
    return Math.fround((code - zeroPoint) * scale);
}
function layoutOf(dtype) {
    return dtype === 'f8_e4m3' ? { mantissa: 3, smallestExponent: -6 } : { mantissa: 2, smallestExponent: -14 };
}
//# sourceMappingURL=codec.js.map