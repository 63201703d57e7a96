// The dtype table, worked out from the layout of each format.
import { PithError } from '../errors/pith-error.ts';
import type { DType, DTypeInfo } from './dtype.ts';
import { FLOAT_FORMATS, type FloatDType } from './float-formats.ts';

const floats = (Object.keys(FLOAT_FORMATS) as FloatDType[]).map(floatInfo);
const signed = ([8, 16, 32, 64] as const).map((bits) => integerInfo(`i${bits}`, bits, 'int'));
const unsigned = ([8, 16, 32, 64] as const).map((bits) => integerInfo(`u${bits}`, bits, 'uint'));
const packed = ([2, 3, 4, 5, 6, 7, 8] as const).map((bits) => integerInfo(`int${bits}`, bits, 'packed'));
const bool: DTypeInfo = { ...integerInfo('bool', 8, 'bool'), min: 0, max: 1 };

const TABLE: ReadonlyMap<string, DTypeInfo> = new Map(
  [...floats, ...signed, ...unsigned, bool, ...packed].map((info) => [info.name, Object.freeze(info)]),
);

/** Every dtype, floats first. */
export const DTYPES: readonly DType[] = Object.freeze([...TABLE.keys()] as DType[]);

/**
 * Bits, range and precision of a dtype.
 *
 * @example dtypeInfo('f8_e4m3').max // 448
 * @throws PithError `DTYPE_UNKNOWN`
 */
export function dtypeInfo(dtype: DType): DTypeInfo {
  const info = TABLE.get(dtype);
  if (info !== undefined) return info;
  throw new PithError('DTYPE_UNKNOWN', `dtype: expected one of ${DTYPES.join(', ')}, got ${String(dtype)}`, {
    details: { dtype, known: DTYPES },
  });
}

function floatInfo(name: FloatDType): DTypeInfo {
  const { exponentBits, mantissaBits, bias, special } = FLOAT_FORMATS[name];
  const epsilon = 2 ** -mantissaBits;
  const smallestNormal = 2 ** (1 - bias);
  // `ieee` loses the largest exponent; `fn` only the largest mantissa of it.
  const largestExponent = 2 ** exponentBits - (special === 'ieee' ? 2 : 1) - bias;
  const largestMantissa = special === 'ieee' ? 2 - epsilon : 2 - 2 * epsilon;
  const max = largestMantissa * 2 ** largestExponent;
  const bits = 1 + exponentBits + mantissaBits;
  const smallestSubnormal = smallestNormal * epsilon;
  return { name, bits, family: 'float', min: -max, max, epsilon, smallestNormal, smallestSubnormal };
}

function integerInfo(name: DType, bits: number, family: 'int' | 'uint' | 'bool' | 'packed'): DTypeInfo {
  const unsignedRange = family === 'uint' || family === 'bool';
  const min = unsignedRange ? 0 : -(2 ** (bits - 1));
  const max = 2 ** (unsignedRange ? bits : bits - 1) - 1;
  return { name, bits, family, min, max, epsilon: 1, smallestNormal: 1, smallestSubnormal: 1 };
}
