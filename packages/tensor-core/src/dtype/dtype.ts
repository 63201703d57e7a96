// The dtype table: the only place with the constants of number formats.

/** A format that stored values can have. `intN` are N-bit codes packed into int32 words (see `packing`). */
export type DType =
  | 'f64'
  | 'f32'
  | 'f16'
  | 'bf16'
  | 'f8_e4m3'
  | 'f8_e5m2'
  | 'i64'
  | 'u64'
  | 'i32'
  | 'u32'
  | 'i16'
  | 'u16'
  | 'i8'
  | 'u8'
  | 'bool'
  | 'int2'
  | 'int3'
  | 'int4'
  | 'int5'
  | 'int6'
  | 'int7'
  | 'int8';

/** Facts about a {@link DType}. */
export interface DTypeInfo {
  /** Its own name. */
  readonly name: DType;
  /** Bits of one value. */
  readonly bits: number;
  /** What its codes mean; `packed` codes are signed integers in a bit stream. */
  readonly family: 'float' | 'int' | 'uint' | 'bool' | 'packed';
  /** Smallest finite value. For 64-bit integers rounded to f64. */
  readonly min: number;
  /** Largest finite value. For 64-bit integers rounded to f64. */
  readonly max: number;
  /** Distance from 1 to the next larger value; 1 for integers. */
  readonly epsilon: number;
  /** Smallest normal value above zero; 1 for integers. */
  readonly smallestNormal: number;
  /** Smallest value above zero, subnormals included; 1 for integers. */
  readonly smallestSubnormal: number;
}
