// A part of a byte source as a source of its own.
import { PithError, type ByteSource } from '@pith/tensor-core';

/** Bytes `offset` to `offset + byteLength` of a source; reads that leave the range are refused. */
export function byteRange(source: ByteSource, offset: number, byteLength: number): ByteSource {
  const check = (start: number, length: number): void => {
    if (Number.isSafeInteger(start) && start >= 0 && length >= 0 && start + length <= byteLength) return;
    throw new PithError(
      'BYTES_OUT_OF_RANGE',
      `read bytes: bytes ${start} to ${start + length} must lie in the ${byteLength} bytes of the range`,
      { kind: 'internal', details: { offset: start, length, byteLength } },
    );
  };
  return {
    byteLength,
    ...(source.file && { file: { path: source.file.path, offset: source.file.offset + offset } }),
    async read(start, length) {
      check(start, length);
      return source.read(offset + start, length);
    },
    async readInto(start, target) {
      check(start, target.byteLength);
      return source.readInto(offset + start, target);
    },
  };
}
