// The enum values of the ONNX format that this package uses, and how host arrays become tensor bytes.
import type { HostArrays, HostDType } from '../../device/device.ts';

/** Operator set of the default domain that every written model declares. Runtimes since ONNX Runtime 1.18 read it. */
export const OPSET = 21;

/** Version of the container format; 10 came with operator set 21. */
export const IR_VERSION = 10;

/** Domain of ONNX Runtime's own operators (FusedMatMul and the like). */
export const MICROSOFT_DOMAIN = 'com.microsoft';

/** `TensorProto.DataType` of each dtype that a graph value can have. */
export const ONNX_TYPE: Readonly<Record<HostDType, number>> = { f32: 1, u8: 2, i32: 6, i64: 7, bool: 9, f64: 11 };

/** Dtypes that the values of an exported model can have. */
export type ExportDType = HostDType | 'f16' | 'i8';

/** `TensorProto.DataType` of each dtype of an exported model. */
export const EXPORT_TYPE: Readonly<Record<ExportDType, number>> = { ...ONNX_TYPE, i8: 3, f16: 10 };

/** `AttributeProto.AttributeType` of the kinds of attribute that are written. */
export const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, floats: 6, ints: 7 } as const;

/** Bytes of one value. */
export const BYTES: Readonly<Record<HostDType, number>> = { f32: 4, f64: 8, i32: 4, i64: 8, bool: 1, u8: 1 };

const CONSTRUCTORS = {
  f32: Float32Array,
  f64: Float64Array,
  i32: Int32Array,
  i64: BigInt64Array,
  bool: Uint8Array,
  u8: Uint8Array,
} as const;

/** A zeroed host array of `length` values. */
export function hostArray<D extends HostDType>(dtype: D, length: number): HostArrays[D] {
  return new CONSTRUCTORS[dtype](length) as HostArrays[D];
}

/** The constructor of the host array of `dtype`. */
export function hostArrayType(dtype: HostDType): (typeof CONSTRUCTORS)[HostDType] {
  return CONSTRUCTORS[dtype];
}

/** Product of the axes; 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const length of shape) size *= length;
  return size;
}

/** What the names of axes begin with that each run decides the length of. */
export const OPEN_AXIS_PREFIX = 'pith_open_';
