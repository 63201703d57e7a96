// Rounding to nearest, fused: read a dtype, find ranges, choose scales, round, pack, and add up the errors, row by row
// within the processor's cache. The specification is @pith/quant src/rtn/quantize.ts; results are equal bit for bit.
//
// Arguments by number: dtypes 0 f32, 1 f16, 2 bf16, of scales also 3 e8m0 and 4 e4m3; `coding` 2 to 8 for integers of that
// many bits, 16 f8_e4m3, 17 f8_e5m2, 18 f4_e2m1; `arithmetic` is the dtype that scales are computed in, and quotients too
// unless scales are of 8 bits, whose quotients are f32.
import { packCodes } from './pack';
import { GROUP_BYTES, quantizeRow, ROW_ERROR_BYTES } from './quantize-row';
import {
  bytesPerScale,
  E2M1,
  E8M0_SCALES,
  epsilonOf,
  errorUnit,
  halfOf,
  highestCode,
  lastStep,
  lowestCode,
  powerUnit,
  quotientDType,
  scaleOf,
  storeScale,
  zeroPointOf,
} from './quantize-scale';
import { candidateError, searchGroup } from './quantize-search';
import {
  BF16,
  bytesPerValue,
  expandRow,
  isNotFinite,
  largest,
  magnitudeBits,
  magnitudeBitsOfBf16,
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

// Scratch: a padded block, counters, one row of f32 with room for a block, one row of codes with room for a block, what
// each group is coded with.
const PAD_BYTES: usize = 64;
const COUNTER_BYTES: usize = 1024;

/** Bytes of scratch that a row of `columns` in `groups` groups needs. */
export function quantizeScratchBytes(columns: i32, groups: i32): usize {
  return PAD_BYTES + COUNTER_BYTES + valueBytes(columns) + codeBytes(columns) + (<usize>groups) * GROUP_BYTES;
}

// @ts-ignore: decorator
@inline
function valueBytes(columns: i32): usize {
  return ((<usize>columns << 2) + 127) & ~63;
}

// @ts-ignore: decorator
@inline
function codeBytes(columns: i32): usize {
  return (<usize>columns + 79) & ~63;
}

/**
 * Quantizes `rows` rows of `columns` values in groups of `groupSize` columns.
 *
 * `rule`: 0 minmax, 1 absmax, 2 percentile (`number` is the rank from 1), 3 RMS (`number` is the multiple), 4 search
 * (`candidates` f32 shrink factors at `factors`, exponent `norm`), 5 the scale `givenScale` and zero point `givenZero`
 * for all. With scales of e4m3 `givenScale` is what they are divided by.
 *
 * Written: `codes`, packed into a bit stream of 32-bit words per row, those of e2m1 two to a byte (`packed` 1), or a byte
 * each; except for rule 5,
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
  const rowCodes = x + valueBytes(columns);
  const groups = rowCodes + codeBytes(columns);
  const lowest = lowestCode(coding);
  const highest = highestCode(coding);
  const half = halfOf(coding);
  const step = lastStep(coding);
  const rowBytes = !packed
    ? <usize>columns
    : coding == E2M1
      ? (<usize>columns + 1) >> 1
      : <usize>(((<i64>columns * coding + 31) >> 5) << 2);
  const scaleBytes = bytesPerScale(scaleDType);
  const quotients = quotientDType(arithmetic, scaleDType);
  for (let row = 0; row < rows; row++) {
    expandRow(source, dtype, columns, x);
    let group = groups;
    let full = i32(rule > ABSMAX);
    let zeroScales = 0;
    for (let start = 0; start < columns; start += groupSize) {
      const at = x + ((<usize>start) << 2);
      const bits =
        dtype == BF16
          ? magnitudeBitsOfBf16(source + ((<usize>start) << 1), groupSize)
          : magnitudeBits(at, groupSize);
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
            givenScale,
            pad,
          );
          factor = load<f32>(factors + ((<usize>best) << 2));
          low = min<f32>(low, 0) * factor;
          high = max<f32>(high, 0) * factor;
        }
        scale = scaleOf(low, high, half, asymmetric, arithmetic, scaleDType, givenScale);
        if (!(scale < Infinity)) return -2 - row;
        // Exponents have no 0: there a group counts by its values.
        zeroScales += i32(scaleDType == E8M0_SCALES ? magnitude == 0 : scale == 0);
        if (asymmetric) {
          zero = zeroPointOf(low, scale, lowest, highest, arithmetic);
          store<i8>(zeros++, <i8>zero);
        }
        if (scale == 0) scale = epsilonOf(scaleDType, givenScale);
        storeScale(scaleDType, scales, scale, givenScale);
        scales += scaleBytes;
      }
      const unit = errorUnit(magnitude);
      store<f32>(group, scale);
      store<f32>(group, zero, 4);
      store<f32>(group, unit, 8);
      group += GROUP_BYTES;
      // Values count as clipped from one step outside on; where the ends of the range are nearer, none is.
      full |= i32(unit != 1) | i32(high / scale + zero > highest + step) | i32(low / scale + zero < lowest - step);
    }
    quantizeRow(
      x,
      columns,
      groupSize,
      groups,
      rowCodes,
      coding,
      asymmetric,
      quotients,
      full,
      lowest,
      highest,
      step,
      pad,
      errors,
    );
    store<i64>(errors, zeroScales, 24);
    if (!packed) memory.copy(codes, rowCodes, columns);
    else if (coding == E2M1) packPairs(rowCodes, codes, columns);
    else if (coding == 4) packNibbles(rowCodes, codes, columns);
    else if (coding == 8) packBytes(rowCodes, codes, columns);
    else packCodes(rowCodes, codes, 1, columns, coding);
    source += <usize>columns * bytesPerValue(dtype);
    codes += rowBytes;
    errors += ROW_ERROR_BYTES;
  }
  return -1;
}

/** {@link packCodes} of one row of 4-bit codes that are known to be in range; `source` has room for 31 more. */
function packNibbles(source: usize, target: usize, columns: i32): void {
  const flip = i8x16.splat(8);
  const nibble = i8x16.splat(15);
  const byte = i16x8.splat(0xff);
  let i = 0;
  for (; i <= columns - 32; i += 32) {
    const a = v128.and(v128.xor(v128.load(source + <usize>i), flip), nibble);
    const b = v128.and(v128.xor(v128.load(source + <usize>i, 16), flip), nibble);
    const left = v128.and(v128.or(a, i16x8.shr_u(a, 4)), byte);
    const right = v128.and(v128.or(b, i16x8.shr_u(b, 4)), byte);
    v128.store(target + ((<usize>i) >> 1), i8x16.narrow_i16x8_u(left, right));
  }
  if (i < columns) packCodes(source + <usize>i, target + ((<usize>i) >> 1), 1, columns - i, 4);
}

/** Codes of 4 bits as they are, two to a byte, the first one low; `source` has room for 31 more. */
export function packPairs(source: usize, target: usize, columns: i32): void {
  const byte = i16x8.splat(0xff);
  let i = 0;
  for (; i <= columns - 32; i += 32) {
    const a = v128.load(source + <usize>i);
    const b = v128.load(source + <usize>i, 16);
    const left = v128.and(v128.or(a, i16x8.shr_u(a, 4)), byte);
    const right = v128.and(v128.or(b, i16x8.shr_u(b, 4)), byte);
    v128.store(target + ((<usize>i) >> 1), i8x16.narrow_i16x8_u(left, right));
  }
  for (; i < columns; i += 2) {
    const second: u32 = i + 1 < columns ? load<u8>(source + <usize>i, 1) : 0;
    store<u8>(target + ((<usize>i) >> 1), load<u8>(source + <usize>i) | (second << 4));
  }
}

/** {@link packCodes} of one row of 8-bit codes. */
function packBytes(source: usize, target: usize, columns: i32): void {
  const flip = i8x16.splat(-128);
  let i = 0;
  for (; i <= columns - 16; i += 16) {
    v128.store(target + <usize>i, v128.xor(v128.load(source + <usize>i), flip));
  }
  if (i < columns) packCodes(source + <usize>i, target + <usize>i, 1, columns - i, 8);
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
