// The specification of every conversion, written for reading: one value at a time, in exact arithmetic. Tests hold the
// fast conversions (convert.ts) to it.
//
// To a float format: round half to even; subnormals are kept; NaN stays NaN with its sign, all else of it replaced by
// the quiet bit (fp8: all ones). Past the largest value, after rounding, comes infinity, or NaN in `f8_e4m3`, which has
// none; with `saturate` the largest value instead, also for infinity itself.
// From a float format to f32: exact; NaN keeps its sign and its payload moves to the top bits (from f64: sign only).
// To an integer: round half to even, clamp to the range, NaN is 0. To bool: both zeros are 0, all else is 1.
import type { DType } from './dtype.ts';
import { byteLengthOf } from './byte-length.ts';
import { dtypeInfo } from './dtype-info.ts';
import { FLOAT_FORMATS, isFloatDType, type FloatDType, type FloatFormat } from './float-formats.ts';

/** What becomes of values past the largest of a float format: its infinity (e4m3: NaN), or its largest value. */
export type Overflow = 'special' | 'saturate';

/** A small float format: its codes fit a number. */
export type SmallFloat = Exclude<FloatDType, 'f64'>;

/** The exact value of a code; NaN for every NaN. */
export function decodeFloat(dtype: SmallFloat, code: number): number {
  const { sign, exponent, mantissa, format } = fields(dtype, code);
  if (isNotFinite(format, exponent, mantissa)) {
    return format.special === 'ieee' && mantissa === 0 ? sign * Infinity : NaN;
  }
  const unit = 2 ** -format.mantissaBits;
  if (exponent === 0) return sign * mantissa * unit * 2 ** (1 - format.bias);
  return sign * (1 + mantissa * unit) * 2 ** (exponent - format.bias);
}

/** The code of a value of f64 that is not NaN. */
export function encodeFloat(dtype: SmallFloat, value: number, overflow: Overflow = 'special'): number {
  const format = FLOAT_FORMATS[dtype];
  const { max, smallestNormal } = dtypeInfo(dtype);
  const negative = value < 0 || Object.is(value, -0);
  const signBit = negative ? 2 ** (format.exponentBits + format.mantissaBits) : 0;
  const magnitude = Math.abs(value);
  const largest = codeOf(format, max);
  if (magnitude === Infinity) return signBit + largest + (overflow === 'saturate' ? 0 : 1);
  // The distance between neighbours at this magnitude; scaling by a power of two is exact.
  const unit = 2 ** (exponentOf(Math.max(magnitude, smallestNormal)) - format.mantissaBits);
  const rounded = roundHalfToEven(magnitude / unit) * unit;
  if (rounded > max) return signBit + largest + (overflow === 'saturate' ? 0 : 1);
  return signBit + codeOf(format, rounded);
}

/** The nearest integer, the even one of two that are equally near. */
export function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest < 0.5) return below;
  if (rest > 0.5) return below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** Stored little-endian bytes to f32, value by value. */
export function toF32Reference(dtype: DType, bytes: Uint8Array): Float32Array {
  const size = byteLengthOf(dtype, 1);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const result = new Uint32Array(bytes.byteLength / size);
  for (let i = 0; i < result.length; i++) result[i] = f32Bits(dtype, view, i * size);
  return new Float32Array(result.buffer);
}

/** f32 to stored little-endian bytes, value by value. */
export function fromF32Reference(dtype: DType, values: Float32Array, overflow: Overflow = 'special'): Uint8Array {
  const size = byteLengthOf(dtype, 1);
  const codes = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const view = new DataView(new ArrayBuffer(values.length * size));
  for (let i = 0; i < values.length; i++) store(dtype, view, i * size, codes[i]!, overflow);
  return new Uint8Array(view.buffer);
}

function f32Bits(dtype: DType, view: DataView, at: number): number {
  if (dtype === 'f64') {
    const value = view.getFloat64(at, true);
    if (Number.isNaN(value)) return nanBits(view.getUint8(at + 7) >= 128);
    return encodeFloat('f32', value);
  }
  if (!isFloatDType(dtype)) return encodeFloat('f32', readInteger(dtype, view, at));
  const code = readCode(dtype, view, at);
  const value = decodeFloat(dtype, code);
  if (!Number.isNaN(value)) return encodeFloat('f32', value);
  const { sign, mantissa, format } = fields(dtype, code);
  return (sign < 0 ? 0x80000000 : 0) + 0x7f800000 + mantissa * 2 ** (23 - format.mantissaBits);
}

function store(dtype: DType, view: DataView, at: number, bits: number, overflow: Overflow): void {
  const value = decodeFloat('f32', bits);
  const negative = bits >= 0x80000000;
  if (dtype === 'f64') {
    if (Number.isNaN(value)) view.setBigUint64(at, negative ? 0xfff8000000000000n : 0x7ff8000000000000n, true);
    else view.setFloat64(at, value, true);
  } else if (dtype === 'f32') {
    view.setUint32(at, bits, true);
  } else if (isFloatDType(dtype)) {
    const { exponentBits, mantissaBits } = FLOAT_FORMATS[dtype];
    const width = 1 + exponentBits + mantissaBits;
    const quiet = width === 8 ? 0x7f : (2 ** (exponentBits + 1) - 1) * 2 ** (mantissaBits - 1);
    const nan = quiet + (negative ? 2 ** (width - 1) : 0);
    writeCode(width, view, at, Number.isNaN(value) ? nan : encodeFloat(dtype, value, overflow));
  } else {
    writeInteger(dtype, view, at, value);
  }
}

/** Exact up to 2^53; 64-bit integers beyond are rounded to odd, which keeps a later rounding to f32 right. */
function readInteger(dtype: DType, view: DataView, at: number): number {
  const { bits, family } = dtypeInfo(dtype);
  if (family === 'bool') return view.getUint8(at) === 0 ? 0 : 1;
  if (bits === 64) {
    const value = family === 'int' ? view.getBigInt64(at, true) : view.getBigUint64(at, true);
    const magnitude = value < 0n ? -value : value;
    const kept = (magnitude >> 11n) | (magnitude % 2048n === 0n ? 0n : 1n);
    return magnitude < 2n ** 53n ? Number(value) : Number(kept) * 2048 * (value < 0n ? -1 : 1);
  }
  const code = readCode(dtype, view, at);
  return family === 'int' && code >= 2 ** (bits - 1) ? code - 2 ** bits : code;
}

function writeInteger(dtype: DType, view: DataView, at: number, value: number): void {
  const { bits, family } = dtypeInfo(dtype);
  if (family === 'bool') {
    view.setUint8(at, value === 0 ? 0 : 1);
    return;
  }
  const lowest = family === 'int' ? -(2n ** BigInt(bits - 1)) : 0n;
  const highest = lowest + 2n ** BigInt(bits) - 1n;
  let integer = 0n;
  if (value === Infinity) integer = highest;
  else if (value === -Infinity) integer = lowest;
  else if (!Number.isNaN(value)) integer = BigInt(roundHalfToEven(value));
  const clamped = integer < lowest ? lowest : integer > highest ? highest : integer;
  if (bits === 64) view.setBigUint64(at, BigInt.asUintN(64, clamped), true);
  else writeCode(bits, view, at, Number(BigInt.asUintN(bits, clamped)));
}

function readCode(dtype: DType, view: DataView, at: number): number {
  const { bits } = dtypeInfo(dtype);
  return bits === 8 ? view.getUint8(at) : bits === 16 ? view.getUint16(at, true) : view.getUint32(at, true);
}

function writeCode(bits: number, view: DataView, at: number, code: number): void {
  if (bits === 8) view.setUint8(at, code);
  else if (bits === 16) view.setUint16(at, code, true);
  else view.setUint32(at, code, true);
}

function nanBits(negative: boolean): number {
  return negative ? 0xffc00000 : 0x7fc00000;
}

function fields(dtype: SmallFloat, code: number) {
  const format = FLOAT_FORMATS[dtype];
  const mantissa = code % 2 ** format.mantissaBits;
  const exponent = Math.floor(code / 2 ** format.mantissaBits) % 2 ** format.exponentBits;
  const sign = code >= 2 ** (format.mantissaBits + format.exponentBits) ? -1 : 1;
  return { sign, exponent, mantissa, format };
}

function isNotFinite(format: FloatFormat, exponent: number, mantissa: number): boolean {
  if (exponent !== 2 ** format.exponentBits - 1) return false;
  return format.special === 'ieee' || mantissa === 2 ** format.mantissaBits - 1;
}

const scratch = new DataView(new ArrayBuffer(8));

/** The exponent of a normal f64: floor(log2(value)), exactly. */
function exponentOf(value: number): number {
  scratch.setFloat64(0, value);
  return (scratch.getUint16(0) >> 4) - 1023;
}

/** The code of a magnitude that the format holds exactly. */
function codeOf(format: FloatFormat, magnitude: number): number {
  const smallestNormal = 2 ** (1 - format.bias);
  const scale = 2 ** format.mantissaBits;
  if (magnitude < smallestNormal) return (magnitude / smallestNormal) * scale;
  const exponent = exponentOf(magnitude);
  return (exponent + format.bias) * scale + (magnitude / 2 ** exponent - 1) * scale;
}
