// |error|^norm in f32 steps that a vector kernel repeats exactly. WebAssembly has no power function and those of
// JavaScript differ between engines, so this one is spelled out: 2^(norm * log2 x) by two polynomials, about six
// correct digits. Only the choice between shrink factors depends on it.
import { roundHalfToEven } from '@pith/tensor-core';
import { bitsOf, f32OfBits } from "../rtn/arithmetic.js";
const { fround } = Math;
/** Below this a power counts as 0. */
export const SMALLEST_POWER_BASE = 2 ** -60;
/** Coefficients of log2(1 + t) / t on [sqrt(1/2) - 1, sqrt(2) - 1], highest power first. */
export const LOG2_COEFFICIENTS = Object.freeze([
    -0.14275974035263062, 0.23265257477760315, -0.24927182495594025, 0.2872888743877411, -0.3602251708507538,
    0.48091670870780945, -0.7213529348373413, 1.4426950216293335,
].map(fround));
/** Coefficients of 2^f on [-1/2, 1/2], highest power first. */
export const EXP2_COEFFICIENTS = Object.freeze([
    0.0013390863314270973, 0.009676031768321991, 0.055503569543361664, 0.2402210682630539, 0.6931471824645996,
    1.0000001192092896,
].map(fround));
/** `base^norm` for an f32 base from 0 to 2^60; 0 below {@link SMALLEST_POWER_BASE}. */
export function power(base, norm) {
    if (base < SMALLEST_POWER_BASE)
        return 0;
    const bits = bitsOf(base) | 0;
    const exponent = (bits - 0x3f3504f3) >> 23;
    const t = fround(f32OfBits((bits - (exponent << 23)) >>> 0) - 1);
    let log = LOG2_COEFFICIENTS[0];
    for (const coefficient of LOG2_COEFFICIENTS.slice(1))
        log = fround(fround(log * t) + coefficient);
    const y = fround(fround(fround(log * t) + exponent) * norm);
    const clamped = Math.max(y, -126);
    const whole = roundHalfToEven(clamped);
    const rest = fround(clamped - whole);
    let exp = EXP2_COEFFICIENTS[0];
    for (const coefficient of EXP2_COEFFICIENTS.slice(1))
        exp = fround(fround(exp * rest) + coefficient);
    return f32OfBits((bitsOf(exp) + (whole << 23)) >>> 0);
}
//# sourceMappingURL=power.js.map