// ggml's blocks back to f32, bit for bit as ggml's reference does it: all arithmetic is f32, each operation rounded. The
// specification is @pith/checkpoint src/gguf/blocks. One function for each type: `at` is a block, `to` its values.
import { halfValue } from './ggml-lanes';

// @ts-ignore: decorator
@inline
export function half(at: usize): f32 {
  return halfValue(load<u16>(at));
}

/** Four f32 of the low four i16, and of the high four. */
// @ts-ignore: decorator
@inline
function low4(x: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x));
}

// @ts-ignore: decorator
@inline
function high4(x: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x));
}

/** scale q for 16 signed bytes. */
// @ts-ignore: decorator
@inline
export function scaled16(q: v128, scale: v128, to: usize): void {
  const a = i16x8.extend_low_i8x16_s(q);
  const b = i16x8.extend_high_i8x16_s(q);
  v128.store(to, f32x4.mul(low4(a), scale));
  v128.store(to, f32x4.mul(high4(a), scale), 16);
  v128.store(to, f32x4.mul(low4(b), scale), 32);
  v128.store(to, f32x4.mul(high4(b), scale), 48);
}

/** scale q + added for 16 signed bytes. */
// @ts-ignore: decorator
@inline
function affine16(q: v128, scale: v128, added: v128, to: usize): void {
  const a = i16x8.extend_low_i8x16_s(q);
  const b = i16x8.extend_high_i8x16_s(q);
  v128.store(to, f32x4.add(f32x4.mul(low4(a), scale), added));
  v128.store(to, f32x4.add(f32x4.mul(high4(a), scale), added), 16);
  v128.store(to, f32x4.add(f32x4.mul(low4(b), scale), added), 32);
  v128.store(to, f32x4.add(f32x4.mul(high4(b), scale), added), 48);
}

// @ts-ignore: decorator
@inline
function lowNibbles(x: v128): v128 {
  return v128.and(x, i8x16.splat(15));
}

// @ts-ignore: decorator
@inline
function highNibbles(x: v128): v128 {
  return v128.and(i16x8.shr_u(x, 4), i8x16.splat(15));
}

/** Sixteen bits as 16 in those of 16 bytes that are set. */
// @ts-ignore: decorator
@inline
function fifthBits(bits: i32): v128 {
  const spread = i8x16.swizzle(i32x4.splat(bits), i8x16(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  const picked = v128.and(spread, i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128));
  return v128.andnot(i8x16.splat(16), i8x16.eq(picked, i8x16.splat(0)));
}

/** d f16, 16 bytes of nibbles: (q - 8) d. */
export function readQ4_0(at: usize, to: usize): void {
  const d = f32x4.splat(half(at));
  const q = v128.load(at, 2);
  scaled16(i8x16.sub(lowNibbles(q), i8x16.splat(8)), d, to);
  scaled16(i8x16.sub(highNibbles(q), i8x16.splat(8)), d, to + 64);
}

/** d f16, m f16, 16 bytes of nibbles: q d + m. */
export function readQ4_1(at: usize, to: usize): void {
  const d = f32x4.splat(half(at));
  const m = f32x4.splat(half(at + 2));
  const q = v128.load(at, 4);
  affine16(lowNibbles(q), d, m, to);
  affine16(highNibbles(q), d, m, to + 64);
}

/** d f16, fifth bits u32, 16 bytes of nibbles: (q - 16) d. */
export function readQ5_0(at: usize, to: usize): void {
  const d = f32x4.splat(half(at));
  const q = v128.load(at, 6);
  const minus = i8x16.splat(16);
  scaled16(i8x16.sub(v128.or(lowNibbles(q), fifthBits(load<u16>(at, 2))), minus), d, to);
  scaled16(i8x16.sub(v128.or(highNibbles(q), fifthBits(load<u16>(at, 4))), minus), d, to + 64);
}

/** d f16, m f16, fifth bits u32, 16 bytes of nibbles: q d + m. */
export function readQ5_1(at: usize, to: usize): void {
  const d = f32x4.splat(half(at));
  const m = f32x4.splat(half(at + 2));
  const q = v128.load(at, 8);
  affine16(v128.or(lowNibbles(q), fifthBits(load<u16>(at, 4))), d, m, to);
  affine16(v128.or(highNibbles(q), fifthBits(load<u16>(at, 6))), d, m, to + 64);
}

/** d f16, 32 signed bytes: q d. */
export function readQ8_0(at: usize, to: usize): void {
  const d = f32x4.splat(half(at));
  scaled16(v128.load(at, 2), d, to);
  scaled16(v128.load(at, 18), d, to + 64);
}

/** 16 bytes of scale and offset nibbles, 64 bytes of two-bit codes, d f16, dmin f16. */
export function readQ2K(at: usize, to: usize): void {
  const d = half(at + 80);
  const least = half(at + 82);
  for (let sub = 0; sub < 16; sub++) {
    const packed = <i32>load<u8>(at + <usize>sub);
    const scale: f32 = d * <f32>(packed & 15);
    const offset: f32 = least * <f32>(packed >> 4);
    // Eight sub-blocks share 32 bytes: two halves of 16, four shifts.
    const q = v128.load(at + <usize>((sub >> 3) * 32 + (sub & 1) * 16), 16);
    const codes = v128.and(i16x8.shr_u(q, ((sub >> 1) & 3) * 2), i8x16.splat(3));
    affine16(codes, f32x4.splat(scale), f32x4.splat(-offset), to);
    to += 64;
  }
}

/** 32 bytes of third bits (0 means minus 4), 64 bytes of two-bit codes, 12 bytes of six-bit scales plus 32, d f16. */
export function readQ3K(at: usize, to: usize): void {
  const d = half(at + 108);
  for (let sub = 0; sub < 16; sub++) {
    const scales = at + 96;
    const low = sub < 8 ? load<u8>(scales + <usize>sub) & 15 : load<u8>(scales + <usize>(sub - 8)) >> 4;
    const high = (load<u8>(scales + <usize>(sub & 3), 8) >> <u8>(2 * (sub >> 2))) & 3;
    const scale: f32 = d * <f32>((<i32>low | (<i32>high << 4)) - 32);
    const q = v128.load(at + <usize>((sub >> 3) * 32 + (sub & 1) * 16), 32);
    const codes = v128.and(i16x8.shr_u(q, ((sub >> 1) & 3) * 2), i8x16.splat(3));
    const bit = i8x16.splat(<i8>(<i32>1 << (sub >> 1)));
    const third = v128.and(v128.load(at + <usize>((sub & 1) * 16)), bit);
    const minus = v128.and(i8x16.eq(third, i8x16.splat(0)), i8x16.splat(4));
    scaled16(i8x16.sub(codes, minus), f32x4.splat(scale), to);
    to += 64;
  }
}

/** Six-bit scale of sub-block `j` (of 8) in 12 bytes. */
// @ts-ignore: decorator
@inline
function sixBitScale(at: usize, j: i32): i32 {
  const byte = at + <usize>j;
  if (j < 4) return load<u8>(byte) & 63;
  return (load<u8>(byte, 4) & 15) | ((load<u8>(byte - 4) >> 6) << 4);
}

/** Six-bit offset of sub-block `j` (of 8) in 12 bytes. */
// @ts-ignore: decorator
@inline
function sixBitOffset(at: usize, j: i32): i32 {
  const byte = at + <usize>j;
  if (j < 4) return load<u8>(byte, 4) & 63;
  return (load<u8>(byte, 4) >> 4) | ((load<u8>(byte) >> 6) << 4);
}

/** d f16, dmin f16, 12 bytes of six-bit scales and offsets, 128 bytes of nibbles. */
export function readQ4K(at: usize, to: usize): void {
  const d = half(at);
  const least = half(at + 2);
  for (let pair = 0; pair < 4; pair++) {
    const from = at + <usize>(pair * 32);
    const a = v128.load(from, 16);
    const b = v128.load(from, 32);
    let scale = f32x4.splat(d * <f32>sixBitScale(at + 4, 2 * pair));
    let added = f32x4.splat(-(least * <f32>sixBitOffset(at + 4, 2 * pair)));
    affine16(lowNibbles(a), scale, added, to);
    affine16(lowNibbles(b), scale, added, to + 64);
    scale = f32x4.splat(d * <f32>sixBitScale(at + 4, 2 * pair + 1));
    added = f32x4.splat(-(least * <f32>sixBitOffset(at + 4, 2 * pair + 1)));
    affine16(highNibbles(a), scale, added, to + 128);
    affine16(highNibbles(b), scale, added, to + 192);
    to += 256;
  }
}

/** Bit `bit` of 16 bytes as 16 in those bytes. */
// @ts-ignore: decorator
@inline
function bitAsSixteen(bytes: v128, bit: i32): v128 {
  const picked = v128.and(bytes, i8x16.splat(<i8>(<i32>1 << bit)));
  return v128.andnot(i8x16.splat(16), i8x16.eq(picked, i8x16.splat(0)));
}

/** d f16, dmin f16, 12 bytes of six-bit scales and offsets, 32 bytes of fifth bits, 128 bytes of nibbles. */
export function readQ5K(at: usize, to: usize): void {
  const d = half(at);
  const least = half(at + 2);
  const fifth = v128.load(at, 16);
  const fifth1 = v128.load(at, 32);
  for (let pair = 0; pair < 4; pair++) {
    const from = at + <usize>(pair * 32);
    const a = v128.load(from, 48);
    const b = v128.load(from, 64);
    const bit = 2 * pair;
    let scale = f32x4.splat(d * <f32>sixBitScale(at + 4, bit));
    let added = f32x4.splat(-(least * <f32>sixBitOffset(at + 4, bit)));
    affine16(v128.or(lowNibbles(a), bitAsSixteen(fifth, bit)), scale, added, to);
    affine16(v128.or(lowNibbles(b), bitAsSixteen(fifth1, bit)), scale, added, to + 64);
    scale = f32x4.splat(d * <f32>sixBitScale(at + 4, bit + 1));
    added = f32x4.splat(-(least * <f32>sixBitOffset(at + 4, bit + 1)));
    affine16(v128.or(highNibbles(a), bitAsSixteen(fifth, bit + 1)), scale, added, to + 128);
    affine16(v128.or(highNibbles(b), bitAsSixteen(fifth1, bit + 1)), scale, added, to + 192);
    to += 256;
  }
}

/** 128 bytes of nibbles, 64 bytes of fifth and sixth bits, 16 signed scales, d f16: (q - 32) d scale. */
export function readQ6K(at: usize, to: usize): void {
  const d = half(at + 208);
  for (let sub = 0; sub < 16; sub++) {
    const quarter = (sub >> 1) & 3;
    const scale: f32 = d * <f32>load<i8>(at + <usize>sub, 192);
    const low = v128.load(at + <usize>((sub >> 3) * 64 + (quarter & 1) * 32 + (sub & 1) * 16));
    const high = v128.load(at + <usize>((sub >> 3) * 32 + (sub & 1) * 16), 128);
    const nibble = v128.and(i16x8.shr_u(low, 4 * (quarter >> 1)), i8x16.splat(15));
    const upper = i16x8.shl(v128.and(i16x8.shr_u(high, 2 * quarter), i8x16.splat(3)), 4);
    scaled16(i8x16.sub(v128.or(nibble, upper), i8x16.splat(32)), f32x4.splat(scale), to);
    to += 64;
  }
}

// @ts-ignore: decorator
@inline
function levels(codes: v128): v128 {
  return i8x16.swizzle(i8x16(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113), codes);
}

/** d f16, 16 bytes of nibbles that stand for uneven levels. */
export function readIQ4NL(at: usize, to: usize): void {
  const d = f32x4.splat(half(at));
  const q = v128.load(at, 2);
  scaled16(levels(lowNibbles(q)), d, to);
  scaled16(levels(highNibbles(q)), d, to + 64);
}

/** d f16, upper scale bits u16, 4 bytes of lower scale nibbles, 128 bytes of nibbles; scales minus 32. */
export function readIQ4XS(at: usize, to: usize): void {
  const d = half(at);
  const high = <i32>load<u16>(at, 2);
  for (let sub = 0; sub < 8; sub++) {
    const low = (<i32>load<u8>(at + <usize>(sub >> 1), 4) >> (4 * (sub & 1))) & 15;
    const scale = f32x4.splat(d * <f32>((low | (((high >> (2 * sub)) & 3) << 4)) - 32));
    const q = v128.load(at + <usize>(sub * 16), 8);
    scaled16(levels(lowNibbles(q)), scale, to);
    scaled16(levels(highNibbles(q)), scale, to + 64);
    to += 128;
  }
}

// @ts-ignore: decorator
@inline
export function e2m1Doubled(codes: v128): v128 {
  return i8x16.swizzle(i8x16(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12), codes);
}

/** Exponent e8m0 of half the scale, 16 bytes of e2m1 codes. */
export function readMXFP4(at: usize, to: usize): void {
  const stored = <i32>load<u8>(at);
  const d = f32x4.splat(reinterpret<f32>(stored > 1 ? (stored - 1) << 23 : 0x200000 << stored));
  const q = v128.load(at, 1);
  scaled16(e2m1Doubled(lowNibbles(q)), d, to);
  scaled16(e2m1Doubled(highNibbles(q)), d, to + 64);
}

/** e4m3 without a sign, half of its value; 0x7f stands for 0. */
function halfOfE4M3(code: i32): f32 {
  if (code == 0 || code == 0x7f) return 0;
  const exponent = (code >> 3) & 15;
  const mantissa = code & 7;
  if (exponent == 0) return <f32>mantissa * <f32>0.0009765625;
  return reinterpret<f32>(((exponent + 119) << 23) | (mantissa << 20));
}

/** Four scales e4m3, 32 bytes of e2m1 codes; the first half of 16 values in the low nibbles. */
export function readNVFP4(at: usize, to: usize): void {
  for (let sub: usize = 0; sub < 4; sub++) {
    const d = f32x4.splat(halfOfE4M3(load<u8>(at + sub)));
    const q = v128.load64_zero(at + sub * 8, 4);
    scaled16(e2m1Doubled(v128.shuffle<i64>(lowNibbles(q), highNibbles(q), 0, 2)), d, to);
    to += 64;
  }
}

/** A ternary digit of 16 bytes, minus 1; `power` is 3 to its place. */
// @ts-ignore: decorator
@inline
function ternaryDigits(bytes: v128, power: i32): v128 {
  const p = i16x8.splat(<i16>power);
  const mask = i16x8.splat(255);
  const three = i16x8.splat(3);
  const a = i16x8.mul(v128.and(i16x8.mul(i16x8.extend_low_i8x16_u(bytes), p), mask), three);
  const b = i16x8.mul(v128.and(i16x8.mul(i16x8.extend_high_i8x16_u(bytes), p), mask), three);
  return i8x16.sub(i8x16.narrow_i16x8_u(i16x8.shr_u(a, 8), i16x8.shr_u(b, 8)), i8x16.splat(1));
}

/** 48 bytes of five digits each (32, then 16), 4 bytes of four digits each, d f16: (digit - 1) d. */
export function readTQ1_0(at: usize, to: usize): void {
  const d = f32x4.splat(half(at + 52));
  let power = 1;
  for (let n: usize = 0; n < 5; n++) {
    scaled16(ternaryDigits(v128.load(at), power), d, to + n * 128);
    scaled16(ternaryDigits(v128.load(at, 16), power), d, to + n * 128 + 64);
    scaled16(ternaryDigits(v128.load(at, 32), power), d, to + 640 + n * 64);
    power *= 3;
  }
  const last = v128.load32_zero(at, 48);
  power = 1;
  for (let n: usize = 0; n < 4; n++) {
    const digits = i16x8.extend_low_i8x16_s(ternaryDigits(last, power));
    v128.store(to + 960 + n * 16, f32x4.mul(low4(digits), d));
    power *= 3;
  }
}

/** 64 bytes of four two-bit codes each, d f16: (q - 1) d. */
export function readTQ2_0(at: usize, to: usize): void {
  const d = f32x4.splat(half(at + 64));
  for (let from: usize = 0; from < 64; from += 32) {
    for (let shift = 0; shift < 8; shift += 2) {
      for (let j: usize = 0; j < 32; j += 16) {
        const q = v128.and(i16x8.shr_u(v128.load(at + from + j), shift), i8x16.splat(3));
        scaled16(i8x16.sub(q, i8x16.splat(1)), d, to);
        to += 64;
      }
    }
  }
}

/** d f16, 128 bits: d where set, -d where not. */
export function readQ1_0(at: usize, to: usize): void {
  const d = f32x4.splat(half(at));
  for (let j: usize = 0; j < 16; j += 2) {
    const bits = fifthBits(load<u16>(at + j, 2));
    scaled16(i8x16.sub(i16x8.shr_u(bits, 3), i8x16.splat(1)), d, to);
    to += 64;
  }
}

/** d f16, 64 codes of two bits, neighbours in a byte: (q - 1) d. */
export function readQ2_0(at: usize, to: usize): void {
  const d = f32x4.splat(half(at));
  for (let j: usize = 0; j < 16; j += 4) {
    const spread = i8x16.swizzle(v128.load32_zero(at + j, 2), i8x16(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3));
    const a = v128.and(spread, i32x4.splat(0x00000003));
    const b = i16x8.shr_u(v128.and(spread, i32x4.splat(0x00000c00)), 2);
    const c = i16x8.shr_u(v128.and(spread, i32x4.splat(0x00300000)), 4);
    const e = i16x8.shr_u(v128.and(spread, i32x4.splat(0xc0000000)), 6);
    const q = v128.or(v128.or(a, b), v128.or(c, e));
    scaled16(i8x16.sub(q, i8x16.splat(1)), d, to);
    to += 64;
  }
}
