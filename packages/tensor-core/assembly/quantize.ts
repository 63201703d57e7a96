// Rounding to nearest, fused: read a dtype, find ranges, choose scales, round, pack, and add up the errors, row by row
// within the processor's cache. The specification is @pith/quant src/rtn/quantize.ts; results are equal bit for bit.
//
// Arguments by number: dtypes 0 f32, 1 f16, 2 bf16; `coding` 2 to 8 for integers of that many bits, 16 f8_e4m3,
// 17 f8_e5m2; `arithmetic` is the dtype that scales and quotients are rounded to.
import { packCodes } from './pack';
import { quantizeGroup, ROW_ERROR_BYTES } from './quantize-group';
import {
  epsilonOf,
  errorUnit,
  highestCode,
  lastStep,
  lowestCode,
  powerUnit,
  scaleOf,
  storeAs,
  zeroPointOf,
} from './quantize-scale';
import { candidateError, searchGroup } from './quantize-search';
import {
  bytesPerValue,
  expandRow,
  isNotFinite,
  largest,
  magnitudeBits,
  smallest,
  sumOfSquares,
  valueOfRank,
} from './range-values';

// Range rules as arguments.
const MINMAX: i32 = 0;
const ABSMAX: i32 = 1;
const PERCENTILE: i32 = 2;
const RMS: i32 = 3;
const SEARCH: i32 = 4;
const GIVEN: i32 = 5;

// Scratch: a padded block, counters, one row of f32 with room for a block, one row of codes with room for a block.
const PAD_BYTES: usize = 64;
const COUNTER_BYTES: usize = 1024;

/** Bytes of scratch that a row of `columns` needs. */
export function quantizeScratchBytes(columns: i32): usize {
  return PAD_BYTES + COUNTER_BYTES + ((((<usize>columns) << 2) + 127) & ~63) + ((<usize>columns + 79) & ~63);
}

/**
 * Quantizes `rows` rows of `columns` values in groups of `groupSize` columns.
 *
 * `rule`: 0 minmax, 1 absmax, 2 percentile (`number` is the rank from 1), 3 RMS (`number` is the multiple), 4 search
 * (`candidates` f32 shrink factors at `factors`, exponent `norm`), 5 the scale `givenScale` and zero point `givenZero`
 * for all.
 *
 * Written: `codes`, packed into a bit stream of 32-bit words per row (`packed` 1) or a byte each; except for rule 5,
 * `scales` in `scaleDType` and, where `asymmetric` is 1, `zeros` as i8, each [rows, groups]; `errors`, 32 bytes a row:
 * f64 sum of squared errors, f64 sum of squares, f32 largest error, i32 clipped values, i32 zero scales.
 *
 * Returns -1, or the first row that holds a NaN or infinity, or -2 - the first row whose scale overflows its dtype; it
 * stops there.
 */
export function quantizeRows(
  source: usize,
  dtype: i32,
  rows: i32,
  columns: i32,
  groupSize: i32,
  coding: i32,
  asymmetric: i32,
  arithmetic: i32,
  scaleDType: i32,
  rule: i32,
  number: f64,
  factors: usize,
  candidates: i32,
  norm: f32,
  givenScale: f32,
  givenZero: f32,
  codes: usize,
  packed: i32,
  scales: usize,
  zeros: usize,
  errors: usize,
  scratch: usize,
): i32 {
  const pad = scratch;
  const counters = pad + PAD_BYTES;
  const x = counters + COUNTER_BYTES;
  const rowCodes = x + ((((<usize>columns) << 2) + 127) & ~63);
  const lowest = lowestCode(coding);
  const highest = highestCode(coding);
  const step = lastStep(coding);
  const rowBytes = packed ? <usize>(((<i64>columns * coding + 31) >> 5) << 2) : <usize>columns;
  const scaleBytes: usize = bytesPerValue(scaleDType);
  for (let row = 0; row < rows; row++) {
    expandRow(source, dtype, columns, x);
    memory.fill(errors, 0, ROW_ERROR_BYTES);
    for (let start = 0; start < columns; start += groupSize) {
      const at = x + ((<usize>start) << 2);
      const bits = magnitudeBits(at, groupSize);
      if (isNotFinite(bits)) return row;
      const magnitude = reinterpret<f32>(bits);
      let scale = givenScale;
      let zero = givenZero;
      let low = -magnitude;
      let high = magnitude;
      if (rule != GIVEN) {
        let factor: f32 = 1;
        if (rule != ABSMAX && (asymmetric || rule == PERCENTILE)) {
          if (rule != PERCENTILE) {
            low = smallest(at, groupSize);
            high = largest(at, groupSize);
          } else {
            high = valueOfRank(at, groupSize, <i32>number, asymmetric, counters);
            low = asymmetric ? valueOfRank(at, groupSize, groupSize + 1 - <i32>number, 1, counters) : -high;
          }
        }
        if (rule == RMS) {
          const limit = <f32>(number * sqrt(sumOfSquares(at, groupSize) / <f64>groupSize));
          low = max(low, -limit);
          high = min(high, limit);
        } else if (rule == SEARCH) {
          const best = searchGroup(
            at,
            groupSize,
            low,
            high,
            magnitude,
            factors,
            candidates,
            norm,
            coding,
            asymmetric,
            arithmetic,
            scaleDType,
            pad,
          );
          factor = load<f32>(factors + ((<usize>best) << 2));
          low = min<f32>(low, 0) * factor;
          high = max<f32>(high, 0) * factor;
        }
        scale = scaleOf(low, high, coding, asymmetric, arithmetic, scaleDType);
        if (!(scale < Infinity)) return -2 - row;
        if (asymmetric) {
          zero = zeroPointOf(low, scale, coding, arithmetic);
          store<i8>(zeros++, <i8>zero);
        }
        if (scale == 0) {
          scale = epsilonOf(scaleDType);
          store<i32>(errors, load<i32>(errors, 24) + 1, 24);
        }
        storeAs(scaleDType, scales, scale);
        scales += scaleBytes;
      }
      const unit = errorUnit(magnitude);
      // Values count as clipped from one step outside on; where the ends of the range are nearer, none is.
      let full = i32(unit != 1 || rule > ABSMAX);
      if (high / scale + zero > highest + step || low / scale + zero < lowest - step) full = 1;
      quantizeGroup(
        at,
        groupSize,
        rowCodes + <usize>start,
        scale,
        zero,
        lowest,
        highest,
        coding,
        asymmetric,
        arithmetic,
        full,
        step,
        unit,
        pad,
        errors,
      );
    }
    if (packed) packCodes(rowCodes, codes, 1, columns, coding);
    else memory.copy(codes, rowCodes, columns);
    source += <usize>columns * bytesPerValue(dtype);
    codes += rowBytes;
    errors += ROW_ERROR_BYTES;
  }
  return -1;
}

/**
 * Errors of candidate scales over whole rows, for a tensor with one scale: at `candidates`, `count` pairs of f32 scale
 * and f32 zero point; f64 sums of |error|^norm [rows, count] at `target`, in units of a power of two that follows from
 * `magnitude`, the largest magnitude of the tensor (see errorUnit and powerUnit).
 */
export function searchRows(
  source: usize,
  dtype: i32,
  rows: i32,
  columns: i32,
  coding: i32,
  asymmetric: i32,
  arithmetic: i32,
  candidates: usize,
  count: i32,
  norm: f32,
  magnitude: f32,
  target: usize,
  scratch: usize,
): void {
  const pad = scratch;
  const x = pad + PAD_BYTES;
  const unit = norm == 2 ? errorUnit(magnitude) : powerUnit(magnitude);
  for (let row = 0; row < rows; row++) {
    expandRow(source, dtype, columns, x);
    for (let k = 0; k < count; k++) {
      const scale = load<f32>(candidates + ((<usize>k) << 3));
      const zero = load<f32>(candidates + ((<usize>k) << 3), 4);
      const sum = candidateError(x, columns, scale, zero, unit, norm, coding, asymmetric, arithmetic, Infinity, pad);
      store<f64>(target, sum);
      target += 8;
    }
    source += <usize>columns * bytesPerValue(dtype);
  }
}

/**
 * Packs zero points i8 [rows, groups] along the rows: for each group a little-endian bit stream of zero point +
 * 2^(bits-1) over the rows, its 32-bit words lying `groups` apart at `target`. `scratch`: rows + 4 * words bytes, where
 * words = ceil(rows * bits / 32).
 */
export function packZeroPoints(source: usize, target: usize, rows: i32, groups: i32, bits: i32, scratch: usize): void {
  const words = <i32>((<i64>rows * bits + 31) >> 5);
  const stream = scratch + ((<usize>rows + 3) & ~3);
  for (let group = 0; group < groups; group++) {
    for (let row = 0; row < rows; row++) {
      store<u8>(scratch + <usize>row, load<u8>(source + <usize>row * <usize>groups + <usize>group));
    }
    packCodes(scratch, stream, 1, rows, bits);
    for (let word = 0; word < words; word++) {
      const at = target + ((<usize>word * <usize>groups + <usize>group) << 2);
      store<u32>(at, load<u32>(stream + ((<usize>word) << 2)));
    }
  }
}
