import { position, restore, roundToCode } from "../rtn/codec.js";
import { errorUnit, powerUnit, sumInSegments } from "../rtn/error-sum.js";
import { scaleOfRange } from "../rtn/scale.js";
import { power } from "./power.js";
const { fround } = Math;
/** The shrink factors of a search as f32, from 1 down: `1 - i * (1 - smallest) / candidates`. */
export function shrinkFactors({ candidates, smallest }) {
    return Float32Array.from({ length: candidates }, (_, i) => 1 - (i * (1 - smallest)) / candidates);
}
/** The exponent of a search's norm: 2 for mean squared error. */
export function searchNorm(rule) {
    return rule.kind === 'mse' ? 2 : fround(rule.norm);
}
/** The range times a factor, in f32. Asymmetric ranges shrink toward zero, which is part of them. */
export function shrink({ lowest, highest }, factor) {
    return { lowest: fround(Math.min(lowest, 0) * factor), highest: fround(Math.max(highest, 0) * factor) };
}
/** Scales and zero points of every candidate. */
export function candidateScales(range, rule, scheme, codes, arithmetic) {
    return [...shrinkFactors(rule)].map((factor) => scaleOfRange(shrink(range, factor), scheme, codes, arithmetic));
}
/**
 * Sum of |restored - value|^norm in units of a power of two near `magnitude`, the largest magnitude of all values that
 * share the scale.
 */
export function candidateError(values, magnitude, candidate, norm, scheme, codes, arithmetic) {
    const unit = norm === 2 ? errorUnit(magnitude) : powerUnit(magnitude);
    return sumInSegments(values.length, (i) => {
        const code = roundToCode(position(values[i], candidate, scheme, arithmetic), scheme, codes);
        const error = fround(fround(restore(code, candidate) - values[i]) * unit);
        return norm === 2 ? fround(error * error) : power(Math.abs(error), norm);
    });
}
/** The index of the least error, the first of equals; 0 where none is a number. */
export function leastError(errors) {
    let best = 0;
    let least = Infinity;
    for (let i = 0; i < errors.length; i += 1) {
        if (errors[i] < least) {
            best = i;
            least = errors[i];
        }
    }
    return best;
}
//# sourceMappingURL=search.js.map