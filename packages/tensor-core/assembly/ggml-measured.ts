// Q8_0 and Q4_0 without importance, written and measured in one go: what a value restores to is known while its code is made, so that
// nothing is read again. Scales are found four blocks at a time. Bytes and sums are those of ggml-write-simple.ts with ggml-restore.ts
// behind it, which stay for everything that is not plain: see `isPlain`.
import { decode, encode } from './float-codes';

/** Where the sums of a batch lie behind `sums`: vectors of squared errors, of squares, and of the largest errors so far. */
export const SQUARED_ERRORS: usize = 0;
export const SQUARES: usize = 16;
export const LARGEST: usize = 32;

/** Four vectors to one, whose lanes are the largest of each. */
// @ts-ignore: decorator
@inline
function largestOfFour(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.pmax(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.pmax(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return f32x4.pmax(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3));
}

// @ts-ignore: decorator
@inline
function smallestOfFour(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.pmin(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.pmin(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return f32x4.pmin(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3));
}

/** Largest magnitudes of the lanes of a block of 32. */
// @ts-ignore: decorator
@inline
function magnitudes(x: usize): v128 {
  const a = f32x4.pmax(f32x4.abs(v128.load(x)), f32x4.abs(v128.load(x, 16)));
  const b = f32x4.pmax(f32x4.abs(v128.load(x, 32)), f32x4.abs(v128.load(x, 48)));
  const c = f32x4.pmax(f32x4.abs(v128.load(x, 64)), f32x4.abs(v128.load(x, 80)));
  const d = f32x4.pmax(f32x4.abs(v128.load(x, 96)), f32x4.abs(v128.load(x, 112)));
  return f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d));
}

// @ts-ignore: decorator
@inline
function highest(x: usize): v128 {
  const a = f32x4.pmax(v128.load(x), v128.load(x, 16));
  const b = f32x4.pmax(v128.load(x, 32), v128.load(x, 48));
  const c = f32x4.pmax(v128.load(x, 64), v128.load(x, 80));
  const d = f32x4.pmax(v128.load(x, 96), v128.load(x, 112));
  return f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d));
}

// @ts-ignore: decorator
@inline
function lowest(x: usize): v128 {
  const a = f32x4.pmin(v128.load(x), v128.load(x, 16));
  const b = f32x4.pmin(v128.load(x, 32), v128.load(x, 48));
  const c = f32x4.pmin(v128.load(x, 64), v128.load(x, 80));
  const d = f32x4.pmin(v128.load(x, 96), v128.load(x, 112));
  return f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d));
}

/** The first of 32 values with this magnitude. */
function firstOf(x: usize, magnitude: f32): f32 {
  let at = x;
  while (abs<f32>(load<f32>(at)) != magnitude) at += 4;
  return load<f32>(at);
}

/** The value of largest magnitude of each of four blocks, the first where there are several. */
// @ts-ignore: decorator
@inline
function extremes(x: usize): v128 {
  const high = largestOfFour(highest(x), highest(x + 128), highest(x + 256), highest(x + 384));
  const low = smallestOfFour(lowest(x), lowest(x + 128), lowest(x + 256), lowest(x + 384));
  const negative = f32x4.neg(low);
  let found = v128.bitselect(high, low, f32x4.gt(high, negative));
  found = v128.and(found, f32x4.ne(found, f32x4.splat(0))); // of zeros: the one without a sign
  const ties = i32x4.bitmask(v128.and(f32x4.eq(high, negative), f32x4.ne(high, f32x4.splat(0))));
  if (ties) {
    if (ties & 1) found = f32x4.replace_lane(found, 0, firstOf(x, f32x4.extract_lane(high, 0)));
    if (ties & 2) found = f32x4.replace_lane(found, 1, firstOf(x + 128, f32x4.extract_lane(high, 1)));
    if (ties & 4) found = f32x4.replace_lane(found, 2, firstOf(x + 256, f32x4.extract_lane(high, 2)));
    if (ties & 8) found = f32x4.replace_lane(found, 3, firstOf(x + 384, f32x4.extract_lane(high, 3)));
  }
  return found;
}

/** True where scales are zero or far enough from it that their inverses are finite. */
// @ts-ignore: decorator
@inline
function isPlain(scales: v128): bool {
  const magnitude = f32x4.abs(scales);
  const tiny = f32x4.lt(magnitude, f32x4.splat(1e-30));
  return !v128.any_true(v128.and(tiny, f32x4.ne(magnitude, f32x4.splat(0))));
}

// @ts-ignore: decorator
@inline
function inverses(scales: v128): v128 {
  const zero = f32x4.eq(scales, f32x4.splat(0));
  return v128.andnot(f32x4.div(f32x4.splat(1), scales), zero);
}

/** Half away from zero, as f32: just below 0.5 is added to magnitudes, so that no sum rounds up by itself. */
// @ts-ignore: decorator
@inline
function roundedAway(v: v128): v128 {
  return f32x4.trunc(f32x4.add(v, v128.or(v128.and(v, i32x4.splat(0x80000000)), f32x4.splat(0.49999997))));
}

/** Whole numbers of 16 lanes as signed bytes. */
// @ts-ignore: decorator
@inline
function signedBytes(a: v128, b: v128, c: v128, d: v128): v128 {
  const magic = f32x4.splat(12582912);
  const ab = i16x8.narrow_i32x4_s(i32x4.sub(f32x4.add(a, magic), magic), i32x4.sub(f32x4.add(b, magic), magic));
  const cd = i16x8.narrow_i32x4_s(i32x4.sub(f32x4.add(c, magic), magic), i32x4.sub(f32x4.add(d, magic), magic));
  return i8x16.narrow_i16x8_s(ab, cd);
}

/** Codes 0 to 15 of Q4_0, moved to be around zero: -8 to 7. */
// @ts-ignore: decorator
@inline
function nibbleCode(v: v128): v128 {
  return f32x4.sub(f32x4.trunc(f32x4.pmin(f32x4.add(v, f32x4.splat(8.5)), f32x4.splat(15))), f32x4.splat(8));
}

/** Nibbles of 32 codes from -8 to 7 as Q4_0 has them: those of the first half are the low ones. */
// @ts-ignore: decorator
@inline
function nibbles(low: v128, high: v128): v128 {
  const eight = i8x16.splat(8);
  return v128.or(i8x16.add(low, eight), i16x8.shl(i8x16.add(high, eight), 4));
}

/** What a batch has found of four scales, behind the sums: their bits as f16, what values are multiplied by, and what they restore with. */
const HALVES: usize = 48;
const FACTORS: usize = 64;
const RESTORED: usize = 80;

/**
 * Writes up to eight blocks of Q8_0, or of Q4_0 where `four` (a constant at each call), and measures them. False, with nothing done
 * that counts, where a scale is not plain. Zeros follow `x`.
 */
// @ts-ignore: decorator
@inline
function writeMeasured(x: usize, blocks: i32, out: usize, sums: usize, four: bool): bool {
  let errors = f32x4.splat(0);
  let squares = f32x4.splat(0);
  let largest = v128.load(sums, LARGEST);
  for (let first = 0; first < blocks; first += 4) {
    const scales = four
      ? f32x4.div(extremes(x), f32x4.splat(-8))
      : f32x4.div(
          largestOfFour(magnitudes(x), magnitudes(x + 128), magnitudes(x + 256), magnitudes(x + 384)),
          f32x4.splat(127),
        );
    if (!isPlain(scales)) return false;
    const halves = encode(scales, 16, 10, 15, 0x7e00, i32x4.splat(0x7c00));
    v128.store(sums, halves, HALVES);
    v128.store(sums, inverses(scales), FACTORS);
    v128.store(sums, decode(halves, 16, 10, 15, 0x7bff), RESTORED);
    const count = <usize>min<i32>(4, blocks - first);
    for (let block: usize = 0; block < count; block++) {
      store<u16>(out, load<u16>(sums + block * 4, HALVES));
      const factor = v128.load32_splat(sums + block * 4, FACTORS);
      const d = v128.load32_splat(sums + block * 4, RESTORED);
      let low = i8x16.splat(0);
      for (let half: usize = 0; half < 2; half++) {
        const x0 = v128.load(x);
        const x1 = v128.load(x, 16);
        const x2 = v128.load(x, 32);
        const x3 = v128.load(x, 48);
        const v0 = f32x4.mul(x0, factor);
        const v1 = f32x4.mul(x1, factor);
        const v2 = f32x4.mul(x2, factor);
        const v3 = f32x4.mul(x3, factor);
        const q0 = four ? nibbleCode(v0) : roundedAway(v0);
        const q1 = four ? nibbleCode(v1) : roundedAway(v1);
        const q2 = four ? nibbleCode(v2) : roundedAway(v2);
        const q3 = four ? nibbleCode(v3) : roundedAway(v3);
        const codes = signedBytes(q0, q1, q2, q3);
        if (!four) v128.store(out + half * 16, codes, 2);
        else if (half) v128.store(out, nibbles(low, codes), 2);
        else low = codes;
        const e0 = f32x4.sub(f32x4.mul(q0, d), x0);
        const e1 = f32x4.sub(f32x4.mul(q1, d), x1);
        const e2 = f32x4.sub(f32x4.mul(q2, d), x2);
        const e3 = f32x4.sub(f32x4.mul(q3, d), x3);
        errors = f32x4.add(errors, f32x4.mul(e0, e0));
        squares = f32x4.add(squares, f32x4.mul(x0, x0));
        errors = f32x4.add(errors, f32x4.mul(e1, e1));
        squares = f32x4.add(squares, f32x4.mul(x1, x1));
        errors = f32x4.add(errors, f32x4.mul(e2, e2));
        squares = f32x4.add(squares, f32x4.mul(x2, x2));
        errors = f32x4.add(errors, f32x4.mul(e3, e3));
        squares = f32x4.add(squares, f32x4.mul(x3, x3));
        const a = f32x4.pmax(f32x4.abs(e0), f32x4.abs(e1));
        const b = f32x4.pmax(f32x4.abs(e2), f32x4.abs(e3));
        largest = f32x4.pmax(largest, f32x4.pmax(a, b));
        x += 64;
      }
      out += four ? 18 : 34;
    }
  }
  v128.store(sums, errors, SQUARED_ERRORS);
  v128.store(sums, squares, SQUARES);
  v128.store(sums, largest, LARGEST);
  return true;
}

/** Q8_0: see {@link writeMeasured}. */
export function writeQ8_0Measured(x: usize, blocks: i32, out: usize, sums: usize): bool {
  return writeMeasured(x, blocks, out, sums, false);
}

/** Q4_0: see {@link writeMeasured}. */
export function writeQ4_0Measured(x: usize, blocks: i32, out: usize, sums: usize): bool {
  return writeMeasured(x, blocks, out, sums, true);
}
