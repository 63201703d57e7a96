import { PithError } from '@pith/tensor-core';
import { extremesOf, measureRange } from "../range/measure.js";
import { candidateError, candidateScales, leastError, searchNorm } from "../range/search.js";
import { arithmeticDType } from "./arithmetic.js";
import { codeByte, codeOfByte, codeRange, position, restore, roundToCode, } from "./codec.js";
import { errorUnit, sumInSegments } from "./error-sum.js";
import { groupsPerRow } from "./pieces.js";
import { scaleOfRange } from "./scale.js";
/**
 * Rounds a matrix to nearest.
 *
 * @throws PithError `SCALE_OVERFLOW` where a scale is too large for its dtype.
 */
export function quantize(matrix, scheme, rule) {
    const { values, shape, dtype } = matrix;
    const [rows, columns] = shape;
    const arithmetic = arithmeticDType(dtype, scheme.scaleDType);
    const codes = codeRange(scheme);
    const perRow = groupsPerRow(scheme, columns);
    const size = columns / perRow;
    const perTensor = scheme.granularity.kind === 'tensor';
    const shared = perTensor ? chooseScale(values, columns, scheme, rule, codes, arithmetic) : undefined;
    if (shared)
        requireFinite(shared, scheme, 0);
    const result = new Uint8Array(rows * columns);
    const scales = new Float32Array(perTensor ? 1 : rows * perRow);
    const zeroPoints = new Int8Array(scales.length);
    const rowErrors = [];
    for (let row = 0; row < rows; row += 1) {
        const error = { sumSquaredError: 0, sumSquares: 0, maxAbsError: 0, clipped: 0, zeroScales: 0 };
        for (let group = 0; group < perRow; group += 1) {
            const start = row * columns + group * size;
            const slice = values.subarray(start, start + size);
            const chosen = shared ?? chooseScale(slice, size, scheme, rule, codes, arithmetic);
            const index = perTensor ? 0 : row * perRow + group;
            requireFinite(chosen, scheme, row);
            scales[index] = chosen.scale;
            zeroPoints[index] = chosen.zeroPoint;
            if (chosen.zeroScale && (!perTensor || row === 0))
                error.zeroScales += 1;
            quantizeGroup(slice, chosen, scheme, codes, arithmetic, result.subarray(start, start + size), error);
        }
        rowErrors.push(error);
    }
    const asymmetric = scheme.kind === 'int' && !scheme.symmetric;
    return { shape, scheme, codes: result, scales, ...(asymmetric ? { zeroPoints } : {}), rowErrors };
}
/** Restores the f32 values [rows, columns]: `(code - zeroPoint) * scale`. */
export function dequantize({ shape, scheme, codes, scales, zeroPoints }) {
    const [rows, columns] = shape;
    const perRow = groupsPerRow(scheme, columns);
    const size = columns / perRow;
    const result = new Float32Array(rows * columns);
    for (let i = 0; i < result.length; i += 1) {
        const group = scheme.granularity.kind === 'tensor' ? 0 : Math.floor(i / size);
        const chosen = { scale: scales[group], zeroPoint: zeroPoints?.[group] ?? 0, zeroScale: false };
        result[i] = restore(codeOfByte(codes[i], scheme), chosen);
    }
    return result;
}
/** The scale of the values that share it; `columns` is the length of a row of them, which sums restart at. */
function chooseScale(values, columns, scheme, rule, codes, arithmetic) {
    const symmetric = scheme.kind === 'float' || scheme.symmetric;
    const range = measureRange(values, columns, rule, symmetric);
    if (rule.kind !== 'mse' && rule.kind !== 'lp')
        return scaleOfRange(range, scheme, codes, arithmetic);
    const { magnitude } = extremesOf(values);
    const candidates = candidateScales(range, rule, scheme, codes, arithmetic);
    const errors = candidates.map((candidate) => {
        let sum = 0;
        for (let start = 0; start < values.length; start += columns) {
            const row = values.subarray(start, start + columns);
            sum += candidateError(row, magnitude, candidate, searchNorm(rule), scheme, codes, arithmetic);
        }
        return sum;
    });
    return candidates[leastError(errors)];
}
/** Writes the codes of one group and adds its errors to the row's. */
function quantizeGroup(values, chosen, scheme, codes, arithmetic, target, row) {
    const { fround } = Math;
    const errors = new Float32Array(values.length);
    for (let i = 0; i < values.length; i += 1) {
        const code = roundToCode(position(values[i], chosen, scheme, arithmetic), scheme, codes);
        target[i] = codeByte(code, scheme);
        errors[i] = restore(code, chosen) - values[i];
        row.maxAbsError = Math.max(row.maxAbsError, Math.abs(errors[i]));
        // Without the rounding of the arithmetic: a value at the end of the range must not count because of it.
        const exact = fround(fround(values[i] / chosen.scale) + chosen.zeroPoint);
        if (exact > codes.highest + codes.reach || exact < codes.lowest - codes.reach)
            row.clipped += 1;
    }
    const unit = errorUnit(extremesOf(values).magnitude);
    row.sumSquaredError += sumInSegments(values.length, (i) => fround(fround(errors[i] * unit) ** 2)) / unit / unit;
    row.sumSquares += sumInSegments(values.length, (i) => fround(fround(values[i] * unit) ** 2)) / unit / unit;
}
function requireFinite({ scale }, { scaleDType }, row) {
    if (Number.isFinite(scale))
        return;
    throw new PithError('SCALE_OVERFLOW', `quantize: the scale of row ${row} must be finite in ${scaleDType}, got ${scale}; store scales in f32 or bf16`, { details: { row, scaleDType } });
}
//# sourceMappingURL=quantize.js.map