// Byte sources made of others: a part of one, or an array.
import { PithError } from '../errors/pith-error.ts';
import type { ByteSource } from './byte-source.ts';

/** Throws `BYTES_OUT_OF_RANGE` unless `length` bytes from `offset` lie in `byteLength`; `what` names the source. */
export function requireByteRange(offset: number, length: number, byteLength: number, what: string): void {
  const integers = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (integers && offset >= 0 && length >= 0 && offset + length <= byteLength) return;
  throw new PithError(
    'BYTES_OUT_OF_RANGE',
    `read ${what}: ${length} bytes from ${offset} must lie within its ${byteLength} bytes`,
    { kind: 'internal', details: { source: what, offset, length, byteLength } },
  );
}

/** An array as a byte source; reads give views of it. */
export function memoryBytes(bytes: Uint8Array): ByteSource {
  const view = (offset: number, length: number): Uint8Array => {
    requireByteRange(offset, length, bytes.byteLength, 'memory');
    return bytes.subarray(offset, offset + length);
  };
  return {
    byteLength: bytes.byteLength,
    read: async (offset, length) => view(offset, length),
    readInto: async (offset, target) => target.set(view(offset, target.byteLength)),
  };
}

/**
 * Bytes `offset` to `offset + byteLength` of a source, as a source; nothing is read.
 *
 * @throws PithError `BYTES_OUT_OF_RANGE` when the part leaves the source, and when a read leaves the part
 */
export function byteRange(source: ByteSource, offset: number, byteLength: number): ByteSource {
  const what = source.file?.path ?? 'memory';
  requireByteRange(offset, byteLength, source.byteLength, what);
  return {
    byteLength,
    ...(source.file && { file: { path: source.file.path, offset: source.file.offset + offset } }),
    read: async (start, length) => {
      requireByteRange(start, length, byteLength, what);
      return source.read(offset + start, length);
    },
    readInto: async (start, target) => {
      requireByteRange(start, target.byteLength, byteLength, what);
      return source.readInto(offset + start, target);
    },
  };
}
