/** True for {@link QuantizableDType}. */
export function isQuantizable(dtype) {
    return dtype === 'f32' || dtype === 'f16' || dtype === 'bf16';
}
/**
 * The scheme of a weight of this dtype: scales have the weight's dtype unless the scheme says another, as in
 * compressed-tensors.
 */
export function resolveScheme({ weights, scaleDType }, dtype) {
    return Object.freeze({ ...weights, scaleDType: scaleDType ?? dtype });
}
/** Group sizes that are worth their scales; smaller ones cost more than 4 bits a weight for f16 scales. */
const SMALLEST_SENSIBLE_GROUP = 4;
/**
 * Group sizes that divide a row of `columns`, in ascending order, `columns` itself (one scale per channel) last.
 * From 4 up; at most twelve, the largest ones.
 */
export function fittingGroupSizes(columns) {
    const sizes = [];
    for (let size = SMALLEST_SENSIBLE_GROUP; size <= columns / 2; size += 1)
        if (columns % size === 0)
            sizes.push(size);
    return [...sizes.slice(-11), columns];
}
//# sourceMappingURL=resolve-scheme.js.map