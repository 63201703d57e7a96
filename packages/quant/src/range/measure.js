/** Extremes of finite f32 values; at least one. */
export function extremesOf(values) {
    let lowest = Infinity;
    let highest = -Infinity;
    for (const value of values) {
        lowest = Math.min(lowest, value);
        highest = Math.max(highest, value);
    }
    return { lowest, highest, magnitude: Math.max(Math.abs(lowest), Math.abs(highest)) };
}
/**
 * Sum of squares in f64, row by row; within a row with four accumulators, value i going to accumulator i mod 4, added
 * as (0 + 1) + (2 + 3): the order of the kernels.
 */
export function sumOfSquares(values, columns) {
    let sum = 0;
    for (let start = 0; start < values.length; start += columns) {
        const lanes = new Float64Array(4);
        for (let i = 0; i < columns; i += 1)
            lanes[i & 3] += values[start + i] * values[start + i];
        sum += lanes[0] + lanes[1] + (lanes[2] + lanes[3]);
    }
    return sum;
}
/** The f32 magnitude that an RMS rule clips to. */
export function rmsLimit(multiple, squares, count) {
    return Math.fround(multiple * Math.sqrt(squares / count));
}
/** How many of `count` values are at or below a percentile: its rank, counted from 1. */
export function percentileRank({ percent }, count) {
    // percent * count / 100 is rarely exact; a rank must not jump because of its last digit.
    return Math.max(1, Math.ceil((percent * count) / 100 - 1e-9));
}
/**
 * The range before any search: all of it for `minmax`, `mse` and `lp`. Where `symmetric`, it is `[-a, a]`.
 *
 * `columns` is the length of the rows that `values` consists of. `symmetric` decides what percentiles are taken of:
 * magnitudes, or values from both ends.
 */
export function measureRange(values, columns, rule, symmetric) {
    const { magnitude, ...extremes } = extremesOf(values);
    const { lowest, highest } = symmetric ? { lowest: -magnitude, highest: magnitude } : extremes;
    switch (rule.kind) {
        case 'minmax':
        case 'mse':
        case 'lp':
            return { lowest, highest };
        case 'absmax':
            return { lowest: -magnitude, highest: magnitude };
        case 'rms': {
            const limit = rmsLimit(rule.multiple, sumOfSquares(values, columns), values.length);
            return { lowest: Math.max(lowest, -limit), highest: Math.min(highest, limit) };
        }
        case 'percentile': {
            const rank = percentileRank(rule, values.length);
            const sorted = (symmetric ? values.map(Math.abs) : values.slice()).sort();
            const at = sorted[rank - 1];
            return symmetric ? { lowest: -at, highest: at } : { lowest: sorted[values.length - rank], highest: at };
        }
    }
}
//# sourceMappingURL=measure.js.map