// The dtypes of the safetensors format. The names are those of `DType` where Pith can convert the values; the rest are
// listed and carried over as bytes, never converted.
//
// Source: the `Dtype` enumeration of the safetensors crate, version 0.8.
import type { DType } from '@pith/tensor-core';
import { PithError } from '@pith/tensor-core';

/** Dtypes that both the format and {@link DType} know. */
export type ConvertibleDType = Exclude<DType, `int${number}`>;

/** Dtypes of the format that can be listed and carried over, but not converted. */
export type ExoticDType = 'f4' | 'f6_e2m3' | 'f6_e3m2' | 'f8_e8m0' | 'f8_e4m3fnuz' | 'f8_e5m2fnuz' | 'c64';

/** A dtype that a stored tensor can have: the format's name in lower case (`BF16` is `bf16`). */
export type StoredDType = ConvertibleDType | ExoticDType;

/**
 * Bits of one value, in the order in which the reference writer sorts tensors (the last come first in a file). The
 * order is part of what makes our bytes equal to those of the reference.
 */
const BITS: Readonly<Record<StoredDType, number>> = Object.freeze({
  bool: 8,
  f4: 4,
  f6_e2m3: 6,
  f6_e3m2: 6,
  u8: 8,
  i8: 8,
  f8_e5m2: 8,
  f8_e4m3: 8,
  f8_e8m0: 8,
  f8_e4m3fnuz: 8,
  f8_e5m2fnuz: 8,
  i16: 16,
  u16: 16,
  f16: 16,
  bf16: 16,
  i32: 32,
  u32: 32,
  f32: 32,
  c64: 64,
  f64: 64,
  i64: 64,
  u64: 64,
});

const ORDER = new Map((Object.keys(BITS) as StoredDType[]).map((name, index) => [name, index]));
const BY_FORMAT_NAME = new Map((Object.keys(BITS) as StoredDType[]).map((name) => [name.toUpperCase(), name]));
const EXOTIC: ReadonlySet<string> = new Set<ExoticDType>([
  'f4',
  'f6_e2m3',
  'f6_e3m2',
  'f8_e8m0',
  'f8_e4m3fnuz',
  'f8_e5m2fnuz',
  'c64',
]);

/** Every dtype of the format. */
export const STORED_DTYPES: readonly StoredDType[] = Object.freeze(Object.keys(BITS) as StoredDType[]);

/** Bits of one value of a stored dtype. */
export function storedBits(dtype: StoredDType): number {
  return BITS[dtype];
}

/** The name that a safetensors header uses: `bf16` is `BF16`. */
export function formatName(dtype: StoredDType): string {
  return dtype.toUpperCase();
}

/** The dtype of a name in a safetensors header, or undefined when the format has no such name. */
export function fromFormatName(name: string): StoredDType | undefined {
  return BY_FORMAT_NAME.get(name);
}

/** Place of a dtype in the order of the reference writer, which puts high places first. */
export function writingOrder(dtype: StoredDType): number {
  return ORDER.get(dtype) ?? -1;
}

/** True when Pith can convert values of this dtype; false also for names that are no dtype of the format. */
export function isConvertible(dtype: string): dtype is ConvertibleDType {
  return Object.hasOwn(BITS, dtype) && !EXOTIC.has(dtype);
}

/**
 * The dtype as one that can be converted.
 *
 * @throws PithError `DTYPE_NOT_CONVERTIBLE` for the exotic ones, naming the tensor.
 */
export function asConvertible(dtype: string, tensor: string): ConvertibleDType {
  if (isConvertible(dtype)) return dtype;
  throw new PithError(
    'DTYPE_NOT_CONVERTIBLE',
    `read values: tensor "${tensor}" has dtype ${dtype.toUpperCase()}, which can be listed and carried over as bytes but ` +
      `not converted; leave the tensor out of the pass or store it in another dtype`,
    { details: { tensor, dtype } },
  );
}
