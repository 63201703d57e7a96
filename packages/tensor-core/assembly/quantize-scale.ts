// From a range of values to scale and zero point, one group at a time. The specification is @pith/quant
// src/rtn/scale.ts; dtypes as arguments: 0 f32, 1 f16, 2 bf16, of scales also 3 e8m0 and 4 e4m3, the latter divided by a
// global scale when they are used.
import { decode, encode } from './float-codes';
import { BF16, F16 } from './range-values';

/** Codings beside integers of 2 to 8 bits. */
export const E4M3: i32 = 16;
export const E5M2: i32 = 17;
export const E2M1: i32 = 18;

/** Dtypes of scales beside those of weights. */
export const E8M0_SCALES: i32 = 3;
export const E4M3_SCALES: i32 = 4;

/** Bytes of a stored scale. */
// @ts-ignore: decorator
@inline
export function bytesPerScale(scaleDType: i32): usize {
  return scaleDType >= E8M0_SCALES ? 1 : scaleDType == 0 ? 4 : 2;
}

/** The dtype of quotients: that of the scales' arithmetic, f32 under scales of 8 bits. */
// @ts-ignore: decorator
@inline
export function quotientDType(arithmetic: i32, scaleDType: i32): i32 {
  return scaleDType >= E8M0_SCALES ? 0 : arithmetic;
}

/** An f32 rounded to the dtype, half to even; infinity beyond its range. */
// @ts-ignore: decorator
@inline
export function roundTo(dtype: i32, value: f32): f32 {
  if (dtype == BF16) {
    const bits = reinterpret<u32>(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return value;
    return reinterpret<f32>((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000);
  }
  return dtype == F16 ? roundToF16(value) : value;
}

function roundToF16(value: f32): f32 {
  const codes = encode(f32x4.splat(value), 16, 10, 15, 0x7e00, i32x4.splat(0x7c00));
  return f32x4.extract_lane(decode(codes, 16, 10, 15, 0x7bff), 0);
}

/** Stores an f32 that the dtype can hold. */
// @ts-ignore: decorator
@inline
export function storeAs(dtype: i32, at: usize, value: f32): void {
  if (dtype == BF16) store<u16>(at, <u16>(reinterpret<u32>(value) >> 16));
  else if (dtype == F16) {
    const codes = encode(f32x4.splat(value), 16, 10, 15, 0x7e00, i32x4.splat(0x7c00));
    store<u16>(at, <u16>i32x4.extract_lane(codes, 0));
  } else store<f32>(at, value);
}

/** Stores the scale of a group as {@link scaleOf} or {@link epsilonOf} gives it. */
// @ts-ignore: decorator
@inline
export function storeScale(scaleDType: i32, at: usize, scale: f32, global: f32): void {
  if (scaleDType == E8M0_SCALES) store<u8>(at, <u8>(reinterpret<u32>(scale) >> 23));
  else if (scaleDType == E4M3_SCALES) store<u8>(at, <u8>i32x4.extract_lane(codesOfE4m3(scale * global), 0));
  else storeAs(scaleDType, at, scale);
}

function codesOfE4m3(value: f32): v128 {
  return encode(f32x4.splat(value), 8, 3, 7, 0x7f, i32x4.splat(0x7e));
}

/** Smallest code as a value. */
// @ts-ignore: decorator
@inline
export function lowestCode(coding: i32): f32 {
  if (coding == E4M3) return -448;
  if (coding == E5M2) return -57344;
  if (coding == E2M1) return -6;
  return <f32>-(1 << (coding - 1));
}

/** Largest code as a value. */
// @ts-ignore: decorator
@inline
export function highestCode(coding: i32): f32 {
  if (coding == E4M3) return 448;
  if (coding == E5M2) return 57344;
  if (coding == E2M1) return 6;
  return <f32>((1 << (coding - 1)) - 1);
}

/** The step at the ends of the range. */
// @ts-ignore: decorator
@inline
export function lastStep(coding: i32): f32 {
  return coding == E4M3 ? 32 : coding == E5M2 ? 8192 : coding == E2M1 ? 2 : 1;
}

/** What a range `[-a, a]` is divided by: half of the distance between the outer codes. */
// @ts-ignore: decorator
@inline
export function halfOf(coding: i32): f32 {
  return coding > 8 ? highestCode(coding) : <f32>((1 << coding) - 1) * 0.5;
}

/**
 * The scale of a range, as its stored form restores it, which may be 0 or infinite. `half` is {@link halfOf} the coding;
 * `global` is what scales of e4m3 are divided by.
 */
// @ts-ignore: decorator
@inline
export function scaleOf(
  low: f32,
  high: f32,
  half: f32,
  asymmetric: i32,
  arithmetic: i32,
  scaleDType: i32,
  global: f32,
): f32 {
  let scale: f32;
  if (asymmetric) {
    const width = roundTo(arithmetic, max<f32>(high, 0) - min<f32>(low, 0));
    scale = roundTo(arithmetic, width / (2 * half));
  } else {
    const magnitude = max(abs(low), abs(high));
    if (scaleDType == E8M0_SCALES) return powerScale(magnitude, half);
    scale = roundTo(arithmetic, magnitude / half);
    if (scaleDType == E4M3_SCALES) return decodedE4m3(scale * global) / global;
  }
  return arithmetic == scaleDType ? scale : roundTo(scaleDType, scale);
}

/** A value rounded to e4m3, 448 beyond its range. */
function decodedE4m3(value: f32): f32 {
  return f32x4.extract_lane(decode(codesOfE4m3(value), 8, 3, 7, 0x7e), 0);
}

/**
 * The power of two of a group: that of its magnitude, a mantissa of 1.75 and more counting as the next, less the exponent
 * of the largest code (2 of e2m1, 8 of e4m3). At least 2^-127.
 */
function powerScale(magnitude: f32, half: f32): f32 {
  const largest = (reinterpret<i32>(half) >> 23) - 127;
  const exponent = ((reinterpret<i32>(magnitude) + 0x200000) >> 23) - largest;
  return exponent > 0 ? reinterpret<f32>(exponent << 23) : reinterpret<f32>(0x400000);
}

/**
 * The zero point of an asymmetric range under a scale that may be 0: then it is 0 unless the range is not. `lowest` and
 * `highest` are the outer codes.
 */
export function zeroPointOf(low: f32, scale: f32, lowest: f32, highest: f32, arithmetic: i32): f32 {
  const at = roundTo(arithmetic, lowest - roundTo(arithmetic, min<f32>(low, 0) / scale));
  if (at != at) return 0;
  return nearest(min(max(at, lowest), highest)) + 0;
}

/** What replaces a scale of 0; `global` as in {@link scaleOf}. */
// @ts-ignore: decorator
@inline
export function epsilonOf(dtype: i32, global: f32): f32 {
  if (dtype == E4M3_SCALES) return 0.125 / global;
  return dtype == BF16 ? 0.0078125 : dtype == F16 ? 0.0009765625 : 1.1920928955078125e-7;
}

/** The power of two that brings a magnitude near 1. */
// @ts-ignore: decorator
@inline
export function powerUnit(magnitude: f32): f32 {
  const exponent = (reinterpret<i32>(magnitude) >> 23) & 0xff;
  return reinterpret<f32>((254 - min(exponent, 253)) << 23);
}

/** 1 for magnitudes from 2^-40 to 2^40, {@link powerUnit} outside. */
// @ts-ignore: decorator
@inline
export function errorUnit(magnitude: f32): f32 {
  const exponent = (reinterpret<i32>(magnitude) >> 23) & 0xff;
  return exponent >= 87 && exponent <= 167 ? 1 : powerUnit(magnitude);
}
