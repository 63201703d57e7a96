// ggml's IQ1, IQ2 and IQ3 blocks back to f32, bit for bit: vectors of a grid, signs of their own, a scale for every 16 or 32 of
// 256 values. One function for each type: `at` is a block, `to` its values. Held to goldens of ggml.
import { IQ1_GRID, IQ2_S_GRID, IQ2_XS_GRID, IQ2_XXS_GRID, IQ3_S_GRID, IQ3_XXS_GRID } from './ggml-grids';
import { halfValue } from './ggml-lanes';
import { half } from './ggml-restore';

/** Eight two-bit digits of a word. */
// @ts-ignore: decorator
@inline
function digits(word: i32): v128 {
  return i16x8.shr_u(
    i16x8.mul(i16x8.splat(<i16>word), i16x8(16384, 4096, 1024, 256, 64, 16, 4, 1)),
    14,
  );
}

/** Eight three-bit digits: those of two words of four. */
// @ts-ignore: decorator
@inline
function digits3(first: i32, second: i32): v128 {
  const words = v128.shuffle<i64>(i16x8.splat(<i16>first), i16x8.splat(<i16>second), 0, 2);
  return i16x8.shr_u(i16x8.mul(words, i16x8(8192, 1024, 128, 16, 8192, 1024, 128, 16)), 13);
}

// @ts-ignore: decorator
@inline
function word(grid: usize, index: i32): i32 {
  return load<u16>(grid + ((<usize>index) << 1));
}

/** Seven signs and the eighth, which makes their number even. */
// @ts-ignore: decorator
@inline
function evenSigns(seven: i32): i32 {
  return seven | ((popcnt(seven) & 1) << 7);
}

/** Eight i16 magnitudes times a scale, negative where a bit of `signs` is set. */
// @ts-ignore: decorator
@inline
function signed8(magnitudes: v128, signs: i32, scale: f32, to: usize): void {
  const bits = i16x8(1, 2, 4, 8, 16, 32, 64, 128);
  const negative = i16x8.eq(v128.and(i16x8.splat(<i16>signs), bits), bits);
  const x = i16x8.sub(v128.xor(magnitudes, negative), negative);
  const s = f32x4.splat(scale);
  v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x)), s));
  v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x)), s), 16);
}

/** 8, 25, 43 for digits 0, 1, 2. */
// @ts-ignore: decorator
@inline
function magnitudes2(d: v128): v128 {
  const steps = i16x8.add(i16x8.mul(d, i16x8.splat(17)), i16x8.shr_u(d, 1));
  return i16x8.add(steps, i16x8.splat(8));
}

// @ts-ignore: decorator
@inline
function scale2(d: f32, code: i32): f32 {
  return d * (<f32>0.5 + <f32>code) * <f32>0.25;
}

/** d f16; for each 32 values four grid indices of 8 bits, four times seven signs and a scale of 4 bits. */
export function readIQ2XXS(at: usize, to: usize): void {
  const d = half(at);
  for (let sub: usize = 0; sub < 8; sub++) {
    const from = at + sub * 8;
    const rest = load<u32>(from, 6);
    const scale = scale2(d, rest >>> 28);
    for (let l: usize = 0; l < 4; l++) {
      const magnitudes = magnitudes2(digits(word(IQ2_XXS_GRID, load<u8>(from + l, 2))));
      signed8(magnitudes, evenSigns((rest >> (7 * <u32>l)) & 127), scale, to);
      to += 32;
    }
  }
}

/** d f16; 32 words of a grid index of 9 bits and seven signs; 8 bytes of two scales each. */
export function readIQ2XS(at: usize, to: usize): void {
  const d = half(at);
  for (let sub: usize = 0; sub < 8; sub++) {
    const scales = <i32>load<u8>(at + sub, 66);
    for (let l: usize = 0; l < 4; l++) {
      const code = <i32>load<u16>(at + sub * 8 + l * 2, 2);
      const scale = scale2(d, l < 2 ? scales & 15 : scales >> 4);
      signed8(magnitudes2(digits(word(IQ2_XS_GRID, code & 511))), evenSigns(code >> 9), scale, to);
      to += 32;
    }
  }
}

/** d f16; 32 lower bytes of grid indices; 32 bytes of signs; 8 bytes of their upper two bits; 8 bytes of two scales each. */
export function readIQ2S(at: usize, to: usize): void {
  const d = half(at);
  for (let sub: usize = 0; sub < 8; sub++) {
    const scales = <i32>load<u8>(at + sub, 74);
    const high = <i32>load<u8>(at + sub, 66);
    for (let l: usize = 0; l < 4; l++) {
      const index = <i32>load<u8>(at + sub * 4 + l, 2) | ((high << (8 - 2 * <i32>l)) & 0x300);
      const scale = scale2(d, l < 2 ? scales & 15 : scales >> 4);
      signed8(magnitudes2(digits(word(IQ2_S_GRID, index))), load<u8>(at + sub * 4 + l, 34), scale, to);
      to += 32;
    }
  }
}

/** 4, 12, 20 to 52, 62 for digits 0 to 7. */
// @ts-ignore: decorator
@inline
function magnitudes3(d: v128): v128 {
  const last = v128.and(i16x8.eq(d, i16x8.splat(7)), i16x8.splat(2));
  return i16x8.add(i16x8.add(i16x8.shl(d, 3), i16x8.splat(4)), last);
}

/** d f16; 64 grid indices of 8 bits; for each 32 values four times seven signs and a scale of 4 bits. */
export function readIQ3XXS(at: usize, to: usize): void {
  const d = half(at);
  for (let sub: usize = 0; sub < 8; sub++) {
    const rest = load<u32>(at + sub * 4, 66);
    const scale: f32 = d * (<f32>0.5 + <f32>(rest >>> 28)) * <f32>0.5;
    for (let l: usize = 0; l < 4; l++) {
      const index = at + sub * 8 + l * 2;
      const first = word(IQ3_XXS_GRID, load<u8>(index, 2));
      const second = word(IQ3_XXS_GRID, load<u8>(index, 3));
      signed8(magnitudes3(digits3(first, second)), evenSigns((rest >> (7 * <u32>l)) & 127), scale, to);
      to += 32;
    }
  }
}

/** d f16; 64 lower bytes of grid indices; 8 bytes of their ninth bits; 32 bytes of signs; 4 bytes of two scales each. */
export function readIQ3S(at: usize, to: usize): void {
  const d = half(at);
  for (let sub: usize = 0; sub < 8; sub++) {
    const high = <i32>load<u8>(at + sub, 66);
    const code = (<i32>load<u8>(at + (sub >> 1), 106) >> (4 * (<i32>sub & 1))) & 15;
    const scale: f32 = d * <f32>(code * 2 + 1);
    for (let l: usize = 0; l < 4; l++) {
      const index = at + sub * 8 + l * 2;
      const first = <i32>load<u8>(index, 2) | ((high << (8 - 2 * <i32>l)) & 256);
      const second = <i32>load<u8>(index, 3) | ((high << (7 - 2 * <i32>l)) & 256);
      const d3 = digits3(word(IQ3_S_GRID, first), word(IQ3_S_GRID, second));
      const magnitudes = i16x8.add(i16x8.add(d3, d3), i16x8.splat(1));
      signed8(magnitudes, load<u8>(at + sub * 4 + l, 74), scale, to);
      to += 32;
    }
  }
}

/** Eight ternary digits plus an eighth, or minus one, times a scale. */
// @ts-ignore: decorator
@inline
function shifted8(index: i32, minus: bool, scale: f32, to: usize): void {
  const x = i16x8.sub(digits(word(IQ1_GRID, index)), i16x8.splat(1));
  const delta = f32x4.splat(minus ? -0.125 : 0.125);
  const s = f32x4.splat(scale);
  v128.store(to, f32x4.mul(f32x4.add(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x)), delta), s));
  v128.store(to, f32x4.mul(f32x4.add(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x)), delta), s), 16);
}

/** d f16; 32 lower bytes of grid indices; for each 32 values a word of four times three upper bits, scale and shift. */
export function readIQ1S(at: usize, to: usize): void {
  const d = half(at);
  for (let sub: usize = 0; sub < 8; sub++) {
    const high = <i32>load<u16>(at + sub * 2, 34);
    const scale: f32 = d * <f32>(((high >> 12) & 7) * 2 + 1);
    for (let l: usize = 0; l < 4; l++) {
      const index = <i32>load<u8>(at + sub * 4 + l, 2) | (((high >> (3 * <i32>l)) & 7) << 8);
      shifted8(index, (high & 0x8000) != 0, scale, to);
      to += 32;
    }
  }
}

/** 32 lower bytes of grid indices; 16 bytes of two times three upper bits and a shift; four words of four scales and a part of d. */
export function readIQ1M(at: usize, to: usize): void {
  let bits = 0;
  for (let k: usize = 0; k < 4; k++) bits |= (<i32>load<u16>(at + k * 2, 48) >> 12) << (4 * <i32>k);
  const d = halfValue(bits);
  for (let sub: usize = 0; sub < 8; sub++) {
    const scales = <i32>load<u16>(at + (sub >> 1) * 2, 48) >> (6 * (<i32>sub & 1));
    for (let l: usize = 0; l < 4; l++) {
      const high = <i32>load<u8>(at + sub * 2 + (l >> 1), 32) >> (4 * (<i32>l & 1));
      const index = <i32>load<u8>(at + sub * 4 + l) | ((high & 7) << 8);
      const code = (scales >> (l < 2 ? 0 : 3)) & 7;
      shifted8(index, (high & 8) != 0, d * <f32>(code * 2 + 1), to);
      to += 32;
    }
  }
}

/**
 * Word `index` of the grid that IQ blocks of the type (its number in a GGUF file) pick their vectors from: eight digits of two bits, or four
 * of three bits for IQ3, the first in the lowest bits.
 */
export function ggmlGridWord(type: i32, index: i32): i32 {
  switch (type) {
    case 16:
      return word(IQ2_XXS_GRID, index & 255);
    case 17:
      return word(IQ2_XS_GRID, index & 511);
    case 18:
      return word(IQ3_XXS_GRID, index & 255);
    case 21:
      return word(IQ3_S_GRID, index & 511);
    case 22:
      return word(IQ2_S_GRID, index & 1023);
    default:
      return word(IQ1_GRID, index & 2047);
  }
}
