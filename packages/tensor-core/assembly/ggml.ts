// ggml's block types: rows of stored values to blocks, with the error of what was written; and blocks back to f32. Types are told by
// their numbers in a GGUF file. The specifications are @pith/quant src/ggml and @pith/checkpoint src/gguf/blocks.
import { f32ToBf16, f32ToF16, bf16ToF32, f16ToF32 } from './convert-float';
import {
  readIQ4NL,
  readIQ4XS,
  readMXFP4,
  readNVFP4,
  readQ1_0,
  readQ2_0,
  readQ2K,
  readQ3K,
  readQ4_0,
  readQ4_1,
  readQ4K,
  readQ5_0,
  readQ5_1,
  readQ5K,
  readQ6K,
  readQ8_0,
  readTQ1_0,
  readTQ2_0,
} from './ggml-restore';
import { LARGEST, SQUARED_ERRORS, SQUARES, writeQ4_0Measured, writeQ8_0Measured } from './ggml-measured';
import { readIQ1M, readIQ1S, readIQ2S, readIQ2XS, readIQ2XXS, readIQ3S, readIQ3XXS } from './ggml-restore-iq';
import { PADDED_IMPORTANCE, RESTORED, ROW } from './ggml-scratch';
import { writeIQ2S, writeIQ2XS, writeIQ2XXS, writeIQ3S, writeIQ3XXS } from './ggml-write-grid';
import { writeQ2K, writeQ3K, writeQ4K, writeQ5K, writeQ6K } from './ggml-write-k';
import { writeIQ4NL, writeIQ4XS, writeTQ1_0, writeTQ2_0 } from './ggml-write-levels';
import { writeAffine32Blocks, writeMXFP4, writeQ8_0, writeSymmetric32 } from './ggml-write-simple';
import { writeIQ1M, writeIQ1S } from './ggml-write-ternary-grid';
import { ROW_ERROR_BYTES } from './quantize-row';
import { errorUnit } from './quantize-scale';
import {
  BF16 as STORED_BF16,
  bytesPerValue,
  expandRow,
  isNotFinite,
  magnitudeBits,
  magnitudeBitsOfBf16,
} from './range-values';

// Numbers of types.
const F32: i32 = 0;
const F16: i32 = 1;
const Q4_0: i32 = 2;
const Q4_1: i32 = 3;
const Q5_0: i32 = 6;
const Q5_1: i32 = 7;
const Q8_0: i32 = 8;
const Q2_K: i32 = 10;
const Q3_K: i32 = 11;
const Q4_K: i32 = 12;
const Q5_K: i32 = 13;
const Q6_K: i32 = 14;
const IQ2_XXS: i32 = 16;
const IQ2_XS: i32 = 17;
const IQ3_XXS: i32 = 18;
const IQ1_S: i32 = 19;
const IQ4_NL: i32 = 20;
const IQ3_S: i32 = 21;
const IQ2_S: i32 = 22;
const IQ4_XS: i32 = 23;
const IQ1_M: i32 = 29;
const BF16: i32 = 30;
const TQ1_0: i32 = 34;
const TQ2_0: i32 = 35;
const MXFP4: i32 = 39;
const NVFP4: i32 = 40;
const Q1_0: i32 = 41;
const Q2_0: i32 = 42;

/** Values of a batch: a block of the k-quants, eight blocks of 32. */
const BATCH: i32 = 256;

/** Values of a block. */
function valuesOf(type: i32): i32 {
  switch (type) {
    case F32:
    case F16:
    case BF16:
      return 1;
    case Q4_0:
    case Q4_1:
    case Q5_0:
    case Q5_1:
    case Q8_0:
    case IQ4_NL:
    case MXFP4:
      return 32;
    case NVFP4:
    case Q2_0:
      return 64;
    case Q1_0:
      return 128;
    default:
      return 256;
  }
}

/** Bytes of a block; 0 for a type that is not known. */
function bytesOf(type: i32): i32 {
  switch (type) {
    case F32:
      return 4;
    case F16:
    case BF16:
      return 2;
    case Q4_0:
    case IQ4_NL:
    case Q1_0:
    case Q2_0:
      return 18;
    case Q4_1:
      return 20;
    case Q5_0:
      return 22;
    case Q5_1:
      return 24;
    case Q8_0:
      return 34;
    case Q2_K:
      return 84;
    case Q3_K:
    case IQ3_S:
      return 110;
    case Q4_K:
      return 144;
    case Q5_K:
      return 176;
    case Q6_K:
      return 210;
    case IQ2_XXS:
    case TQ2_0:
      return 66;
    case IQ2_XS:
      return 74;
    case IQ3_XXS:
      return 98;
    case IQ1_S:
      return 50;
    case IQ2_S:
      return 82;
    case IQ4_XS:
      return 136;
    case IQ1_M:
      return 56;
    case TQ1_0:
      return 54;
    case MXFP4:
      return 17;
    case NVFP4:
      return 36;
    default:
      return 0;
  }
}

/** Restores `blocks` blocks (values, for plain types) of the type from `source` on to f32 at `target`. */
export function ggmlRestore(type: i32, source: usize, target: usize, blocks: i32): void {
  if (type == F32) {
    memory.copy(target, source, (<usize>blocks) << 2);
    return;
  }
  if (type == F16) {
    f16ToF32(source, target, blocks);
    return;
  }
  if (type == BF16) {
    bf16ToF32(source, target, blocks);
    return;
  }
  const bytes = <usize>bytesOf(type);
  const values = (<usize>valuesOf(type)) << 2;
  for (let block = 0; block < blocks; block++) {
    switch (type) {
      case Q4_0:
        readQ4_0(source, target);
        break;
      case Q4_1:
        readQ4_1(source, target);
        break;
      case Q5_0:
        readQ5_0(source, target);
        break;
      case Q5_1:
        readQ5_1(source, target);
        break;
      case Q8_0:
        readQ8_0(source, target);
        break;
      case Q2_K:
        readQ2K(source, target);
        break;
      case Q3_K:
        readQ3K(source, target);
        break;
      case Q4_K:
        readQ4K(source, target);
        break;
      case Q5_K:
        readQ5K(source, target);
        break;
      case Q6_K:
        readQ6K(source, target);
        break;
      case IQ2_XXS:
        readIQ2XXS(source, target);
        break;
      case IQ2_XS:
        readIQ2XS(source, target);
        break;
      case IQ3_XXS:
        readIQ3XXS(source, target);
        break;
      case IQ1_S:
        readIQ1S(source, target);
        break;
      case IQ4_NL:
        readIQ4NL(source, target);
        break;
      case IQ3_S:
        readIQ3S(source, target);
        break;
      case IQ2_S:
        readIQ2S(source, target);
        break;
      case IQ4_XS:
        readIQ4XS(source, target);
        break;
      case IQ1_M:
        readIQ1M(source, target);
        break;
      case TQ1_0:
        readTQ1_0(source, target);
        break;
      case TQ2_0:
        readTQ2_0(source, target);
        break;
      case MXFP4:
        readMXFP4(source, target);
        break;
      case NVFP4:
        readNVFP4(source, target);
        break;
      case Q1_0:
        readQ1_0(source, target);
        break;
      case Q2_0:
        readQ2_0(source, target);
        break;
      default:
        unreachable();
    }
    source += bytes;
    target += values;
  }
}

/** Writes up to 256 values: whole blocks. Zeros follow the values where they are fewer. */
// @ts-ignore: decorator
@inline
function writeBatch(
  type: i32,
  x: usize,
  importance: usize,
  meanSquare: f32,
  count: i32,
  out: usize,
  s: usize,
  grid: usize,
): void {
  const blocks = count >> 5;
  switch (type) {
    case F32:
      memory.copy(out, x, (<usize>count) << 2);
      break;
    case F16:
      f32ToF16(x, out, count, 0);
      break;
    case BF16:
      f32ToBf16(x, out, count, 0);
      break;
    case Q4_0:
      writeSymmetric32(x, importance, meanSquare, 8, false, blocks, out, s);
      break;
    case Q4_1:
      writeAffine32Blocks(x, importance, meanSquare, 15, false, blocks, out, s);
      break;
    case Q5_0:
      writeSymmetric32(x, importance, meanSquare, 16, true, blocks, out, s);
      break;
    case Q5_1:
      writeAffine32Blocks(x, importance, meanSquare, 31, true, blocks, out, s);
      break;
    case Q8_0:
      writeQ8_0(x, blocks, out);
      break;
    case Q2_K:
      writeQ2K(x, importance, out, s);
      break;
    case Q3_K:
      writeQ3K(x, importance, out, s);
      break;
    case Q4_K:
      writeQ4K(x, importance, out, s);
      break;
    case Q5_K:
      writeQ5K(x, importance, out, s);
      break;
    case Q6_K:
      writeQ6K(x, importance, out, s);
      break;
    case IQ4_NL:
      writeIQ4NL(x, importance, blocks, out, s);
      break;
    case IQ4_XS:
      writeIQ4XS(x, importance, out, s);
      break;
    case IQ3_S:
      writeIQ3S(x, importance, grid, out, s);
      break;
    case IQ3_XXS:
      writeIQ3XXS(x, importance, grid, out, s);
      break;
    case IQ2_S:
      writeIQ2S(x, importance, grid, out, s);
      break;
    case IQ2_XS:
      writeIQ2XS(x, importance, grid, out, s);
      break;
    case IQ2_XXS:
      writeIQ2XXS(x, importance, grid, out, s);
      break;
    case IQ1_S:
      writeIQ1S(x, importance, grid, out, s);
      break;
    case IQ1_M:
      writeIQ1M(x, importance, grid, out, s);
      break;
    case TQ1_0:
      writeTQ1_0(x, out, s);
      break;
    case TQ2_0:
      writeTQ2_0(x, out, s);
      break;
    case MXFP4:
      writeMXFP4(x, blocks, out);
      break;
    default:
      unreachable();
  }
}


/** Bytes of scratch that rows of `columns` values need. */
export function ggmlScratchBytes(columns: i32): usize {
  return ROW + ((<usize>columns) << 2) + 1024;
}

/**
 * Writes `rows` rows of `columns` values (whole blocks) of `dtype` 0 f32, 1 f16, 2 bf16 in the type. `order` is the address of an i32 for
 * each row, which row from `source` on is written, or 0 where they are in order. `importance` is the address of `columns` f32, or 0.
 * `grid` is the table of the type's grid (@pith/quant src/ggml/grid-bytes.ts), or 0 for types that have none.
 * Written: the blocks at `target`; `errors`, 32 bytes a row: f64 sum of squared errors of what was written, f64 sum of squares, f32
 * largest error, zeros.
 *
 * Returns -1, or the first row that holds a NaN or infinity, or -2 - the first row that restores to one; it stops there.
 */
export function ggmlQuantizeRows(
  type: i32,
  source: usize,
  dtype: i32,
  rows: i32,
  columns: i32,
  order: usize,
  importance: usize,
  target: usize,
  errors: usize,
  scratch: usize,
  grid: usize,
): i32 {
  const x = scratch + ROW;
  const values = valuesOf(type);
  const rowBytes = <usize>columns * bytesPerValue(dtype);
  const restored = scratch + RESTORED;
  for (let row = 0; row < rows; row++) {
    const from = order ? load<i32>(order + ((<usize>row) << 2)) : row;
    const stored = source + <usize>from * rowBytes;
    expandRow(stored, dtype, columns, x);
    const bits = dtype == STORED_BF16 ? magnitudeBitsOfBf16(stored, columns) : magnitudeBits(x, columns);
    if (isNotFinite(bits)) return row;
    const unit = errorUnit(reinterpret<f32>(bits));
    memory.fill(x + ((<usize>columns) << 2), 0, 1024);
    let meanSquare: f32 = 0;
    if (importance && values == 32) {
      for (let i = 0; i < columns; i++) {
        const value = load<f32>(x + ((<usize>i) << 2));
        meanSquare += value * value;
      }
      meanSquare /= <f32>columns;
    }
    let sumSquaredError: f64 = 0;
    let sumSquares: f64 = 0;
    let largest = f32x4.splat(0);
    const scale = f32x4.splat(unit);
    const inOneGo = unit == 1 && !importance && (type == Q8_0 || type == Q4_0);
    for (let first = 0; first < columns; first += BATCH) {
      const count = min<i32>(BATCH, columns - first);
      const at = x + ((<usize>first) << 2);
      let weights: usize = importance ? importance + ((<usize>first) << 2) : 0;
      if (importance && count < BATCH) {
        memory.fill(scratch + PADDED_IMPORTANCE, 0, 1024);
        memory.copy(scratch + PADDED_IMPORTANCE, weights, (<usize>count) << 2);
        weights = scratch + PADDED_IMPORTANCE;
      }
      const blocks = values == 1 ? count : count / values;
      if (inOneGo) {
        v128.store(restored, largest, LARGEST);
        const done = type == Q8_0 ? writeQ8_0Measured(at, blocks, target, restored) : writeQ4_0Measured(at, blocks, target, restored);
        if (done) {
          target += <usize>(blocks * bytesOf(type));
          largest = v128.load(restored, LARGEST);
          sumSquaredError += sumOfLanes(v128.load(restored, SQUARED_ERRORS));
          sumSquares += sumOfLanes(v128.load(restored, SQUARES));
          continue;
        }
      }
      writeBatch(type, at, weights, meanSquare, count, target, scratch, grid);
      ggmlRestore(type, target, restored, blocks);
      target += <usize>(blocks * bytesOf(type));
      for (let i = count; (i & 3) != 0; i++) store<f32>(restored + ((<usize>i) << 2), 0);
      let even = f32x4.splat(0);
      let odd = f32x4.splat(0);
      const bytes = (<usize>count) << 2;
      for (let i: usize = 0; i < bytes; i += 16) {
        const a = v128.load(at + i);
        const e = f32x4.sub(v128.load(restored + i), a);
        largest = f32x4.pmax(largest, f32x4.abs(e));
        const scaledError = f32x4.mul(e, scale);
        const scaledValue = f32x4.mul(a, scale);
        even = f32x4.add(even, f32x4.mul(scaledError, scaledError));
        odd = f32x4.add(odd, f32x4.mul(scaledValue, scaledValue));
      }
      sumSquaredError += sumOfLanes(even);
      sumSquares += sumOfLanes(odd);
    }
    if (!(sumSquaredError < Infinity)) return -2 - row;
    store<f64>(errors, sumSquaredError / <f64>unit / <f64>unit);
    store<f64>(errors, sumSquares / <f64>unit / <f64>unit, 8);
    const most = f32x4.pmax(largest, v128.shuffle<i64>(largest, largest, 1, 0));
    store<f32>(errors, max<f32>(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)), 16);
    store<i32>(errors, 0, 20);
    store<i64>(errors, 0, 24);
    errors += ROW_ERROR_BYTES;
  }
  return -1;
}

// @ts-ignore: decorator
@inline
function sumOfLanes(x: v128): f64 {
  const low = <f64>f32x4.extract_lane(x, 0) + <f64>f32x4.extract_lane(x, 1);
  return low + (<f64>f32x4.extract_lane(x, 2) + <f64>f32x4.extract_lane(x, 3));
}
