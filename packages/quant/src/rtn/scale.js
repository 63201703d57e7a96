// From a range of values to a scale and a zero point, as compressed-tensors 0.19 (`calculate_qparams`).
import { roundHalfToEven } from '@pith/tensor-core';
import { epsilonOf, roundTo } from "./arithmetic.js";
/**
 * The scale and zero point that cover a range.
 *
 * Symmetric and float: `max(|lowest|, |highest|) / half`. Asymmetric: zero is made part of the range,
 * `scale = (highest - lowest) / (2^bits - 1)`, `zeroPoint = rint(clamp(qmin - lowest / scale))`, computed before a
 * scale of 0 is replaced; 0 where that is no number. Every operation is rounded to the arithmetic dtype, the scale
 * then to its own.
 */
export function scaleOfRange({ lowest, highest }, scheme, codes, arithmetic) {
    const symmetric = scheme.kind === 'float' || scheme.symmetric;
    const low = Math.min(lowest, 0);
    const quotient = symmetric
        ? roundTo(arithmetic, Math.max(Math.abs(lowest), Math.abs(highest)) / codes.half)
        : roundTo(arithmetic, roundTo(arithmetic, Math.max(highest, 0) - low) / (2 * codes.half));
    const scale = roundTo(scheme.scaleDType, quotient);
    const zeroPoint = symmetric ? 0 : zeroPointOf(low, scale, codes, arithmetic);
    return scale === 0
        ? { scale: epsilonOf(scheme.scaleDType), zeroPoint, zeroScale: true }
        : { scale, zeroPoint, zeroScale: false };
}
function zeroPointOf(low, scale, codes, arithmetic) {
    const at = roundTo(arithmetic, codes.lowest - roundTo(arithmetic, low / scale));
    if (Number.isNaN(at))
        return 0; // 0 / 0: an all-zero group
    return roundHalfToEven(Math.min(Math.max(at, codes.lowest), codes.highest)) + 0;
}
//# sourceMappingURL=scale.js.map