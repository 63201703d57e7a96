// Fast conversions between stored bytes and f32, held to convert-reference.ts, which states the rules.
import { PithError } from '../errors/pith-error.ts';
import type { KernelExports } from '../generated/kernels-wasm.ts';
import { streamThroughKernel } from '../kernels/local-kernels.ts';
import { byteLengthOf } from './byte-length.ts';
import type { Overflow } from './convert-reference.ts';
import type { DType } from './dtype.ts';

/** Dtypes of whole bytes: all but the packed ones. */
export type ByteDType = Exclude<DType, 'int2' | 'int3' | 'int4' | 'int5' | 'int6' | 'int7' | 'int8'>;

/** Names of the kernels that take so many arguments. */
export type KernelOfArity<Arity extends number> = {
  [K in keyof KernelExports]: Parameters<KernelExports[K]>['length'] extends Arity ? K : never;
}[keyof KernelExports];

/** The kernel `(source, target, count)` that turns each dtype into f32; f32 itself needs none. */
export const TO_F32_KERNELS: Readonly<Record<Exclude<ByteDType, 'f32'>, KernelOfArity<3>>> = {
  f64: 'f64ToF32',
  f16: 'f16ToF32',
  bf16: 'bf16ToF32',
  f8_e4m3: 'f8E4m3ToF32',
  f8_e5m2: 'f8E5m2ToF32',
  i64: 'i64ToF32',
  u64: 'u64ToF32',
  i32: 'i32ToF32',
  u32: 'u32ToF32',
  i16: 'i16ToF32',
  u16: 'u16ToF32',
  i8: 'i8ToF32',
  u8: 'u8ToF32',
  bool: 'boolToF32',
};

/** The kernel `(source, target, count, saturate)` that turns f32 into each small float. */
export const FROM_F32_FLOAT_KERNELS: Readonly<Record<'f16' | 'bf16' | 'f8_e4m3' | 'f8_e5m2', KernelOfArity<4>>> = {
  f16: 'f32ToF16',
  bf16: 'f32ToBf16',
  f8_e4m3: 'f32ToF8E4m3',
  f8_e5m2: 'f32ToF8E5m2',
};

/** The kernel `(source, target, count)` that turns f32 into each of the other dtypes. */
export const FROM_F32_KERNELS: Readonly<
  Record<Exclude<ByteDType, 'f32' | keyof typeof FROM_F32_FLOAT_KERNELS>, KernelOfArity<3>>
> = {
  f64: 'f32ToF64',
  i64: 'f32ToI64',
  u64: 'f32ToU64',
  i32: 'f32ToI32',
  u32: 'f32ToU32',
  i16: 'f32ToI16',
  u16: 'f32ToU16',
  i8: 'f32ToI8',
  u8: 'f32ToU8',
  bool: 'f32ToBool',
};

/**
 * Stored little-endian bytes to f32, on the calling thread.
 *
 * Floats up to 32 bits and integers up to 24 are exact, the others rounded half to even. `into` receives the values
 * when given, and is returned.
 *
 * @throws PithError `CONVERT_LENGTH` when bytes, dtype and target do not fit; `DTYPE_PACKED` for packed codes
 */
export function toF32(dtype: DType, bytes: Uint8Array, into?: Float32Array): Float32Array {
  const size = byteLengthOf(dtype, 1);
  const count = bytes.byteLength / size;
  const target = into ?? new Float32Array(Math.ceil(count));
  if (target.length !== count) throw lengthError('toF32', dtype, bytes.byteLength, target.length);
  const targetBytes = bytesOf(target);
  if (dtype === 'f32') targetBytes.set(bytes);
  else {
    const kernel = TO_F32_KERNELS[dtype as Exclude<ByteDType, 'f32'>];
    streamThroughKernel(bytes, size, targetBytes, 4, count, (kernels) => kernels[kernel]);
  }
  return target;
}

/**
 * f32 to stored little-endian bytes, rounded half to even, on the calling thread.
 *
 * `overflow` says what values past the largest of a float format become: `special` (the default) its infinity, NaN in
 * `f8_e4m3`; `saturate` its largest value. Integers are always clamped, and NaN becomes 0 in them. `into` receives the
 * bytes when given, and is returned.
 *
 * @throws PithError `CONVERT_LENGTH`, `DTYPE_PACKED`
 */
export function fromF32(
  dtype: DType,
  values: Float32Array,
  { overflow = 'special', into }: { readonly overflow?: Overflow; readonly into?: Uint8Array } = {},
): Uint8Array {
  const size = byteLengthOf(dtype, 1);
  const target = into ?? new Uint8Array(byteLengthOf(dtype, values.length));
  if (target.byteLength !== values.length * size) {
    throw lengthError('fromF32', dtype, target.byteLength, values.length);
  }
  const source = bytesOf(values);
  if (dtype === 'f32') target.set(source);
  else if (isSmallFloat(dtype)) {
    const saturate = overflow === 'saturate' ? 1 : 0;
    const kernel = FROM_F32_FLOAT_KERNELS[dtype];
    streamThroughKernel(source, 4, target, size, values.length, (kernels) => {
      return (from, to, count) => kernels[kernel](from, to, count, saturate);
    });
  } else {
    const kernel = FROM_F32_KERNELS[dtype as keyof typeof FROM_F32_KERNELS];
    streamThroughKernel(source, 4, target, size, values.length, (kernels) => kernels[kernel]);
  }
  return target;
}

function isSmallFloat(dtype: DType): dtype is keyof typeof FROM_F32_FLOAT_KERNELS {
  return Object.hasOwn(FROM_F32_FLOAT_KERNELS, dtype);
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function lengthError(operation: string, dtype: DType, byteLength: number, values: number): PithError {
  const text = `${operation}: ${values} values of ${dtype} take ${values * byteLengthOf(dtype, 1)} bytes, got ${byteLength}`;
  return new PithError('CONVERT_LENGTH', text, { kind: 'internal', details: { dtype, byteLength, values } });
}
