// Bytes that values take in storage, with checked arithmetic.
import { PithError } from '../errors/pith-error.ts';
import type { DType } from './dtype.ts';
import { dtypeInfo } from './dtype-info.ts';

/**
 * Bytes of `count` values of a dtype of whole bytes.
 *
 * @throws PithError `COUNT_INVALID`, `BYTE_LENGTH_OVERFLOW` past 2^53 - 1, `DTYPE_PACKED` for `int2` to `int8`, whose
 * length depends on the rows: see {@link packedByteLength}.
 */
export function byteLengthOf(dtype: DType, count: number): number {
  const { bits, family } = dtypeInfo(dtype);
  if (family === 'packed') {
    const text = `byte length: ${dtype} is packed row by row; use packedByteLength(bits, rows, columns)`;
    throw new PithError('DTYPE_PACKED', text, { kind: 'internal', details: { dtype } });
  }
  return checkedProduct(requireCount('count', count), bits / 8);
}

/** Words of 32 bits that a row of `columns` codes of `bits` bits fills: `ceil(columns * bits / 32)`. */
export function packedWordsPerRow(bits: number, columns: number): number {
  return Math.ceil(checkedProduct(requireCount('columns', columns), requireBits(bits)) / 32);
}

/**
 * Bytes of `rows` rows of packed codes: every row starts on a new 32-bit word.
 *
 * @throws PithError `BITS_UNSUPPORTED` unless bits is 2 to 8, `COUNT_INVALID`, `BYTE_LENGTH_OVERFLOW`
 */
export function packedByteLength(bits: number, rows: number, columns: number): number {
  return checkedProduct(requireCount('rows', rows), packedWordsPerRow(bits, columns), 4);
}

/** Throws `BITS_UNSUPPORTED` unless `bits` is an integer from 2 to 8; returns it. */
export function requireBits(bits: number): number {
  if (Number.isInteger(bits) && bits >= 2 && bits <= 8) return bits;
  const text = `packed codes: bits must be an integer from 2 to 8, got ${bits}`;
  throw new PithError('BITS_UNSUPPORTED', text, { details: { bits } });
}

function requireCount(name: string, count: number): number {
  if (Number.isSafeInteger(count) && count >= 0) return count;
  const text = `byte length: ${name} must be an integer from 0 to 2^53 - 1, got ${count}`;
  throw new PithError('COUNT_INVALID', text, { details: { [name]: count } });
}

function checkedProduct(...factors: number[]): number {
  if (factors.includes(0)) return 0;
  const product = factors.reduce((a, b) => a * b, 1);
  if (Number.isSafeInteger(product)) return product;
  const text = `byte length: ${factors.join(' x ')} passes 2^53 - 1; the shape cannot be right`;
  throw new PithError('BYTE_LENGTH_OVERFLOW', text, { details: { factors } });
}
