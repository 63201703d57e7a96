// Opens a GGUF file over any source of bytes.
import { byteRange, type ByteSource } from '@pith/tensor-core';
import type { GgufFile, GgufTensor } from './gguf-file.ts';
import { HeaderCursor, MoreBytesNeeded } from './header-cursor.ts';
import { MAX_HEADER_BYTES } from './limits.ts';
import { parseHeader, type GgufHeader, type TensorEntry } from './parse-header.ts';

/** Bytes that are read first; most headers without a vocabulary fit. */
const FIRST_READ_BYTES = 2 ** 20;

/**
 * Reads and checks the header of a GGUF file; the tensors' bytes are not read.
 *
 * Allocates at most four times the header, which is at most 256 MiB.
 *
 * @param file label of the file in errors.
 * @throws PithError `GGUF_MAGIC`, `GGUF_VERSION`, `GGUF_TRUNCATED`, `GGUF_LIMIT_EXCEEDED`, `GGUF_NOT_UTF8`,
 * `GGUF_KEY_INVALID`, `GGUF_DUPLICATE_KEY`, `GGUF_VALUE_TYPE_UNKNOWN`, `GGUF_BOOL_INVALID`, `GGUF_ALIGNMENT`,
 * `GGUF_NAME_INVALID`, `GGUF_DUPLICATE_TENSOR`, `GGUF_SHAPE_INVALID`, `GGUF_TYPE_UNKNOWN`, `GGUF_OFFSET_INVALID`.
 */
export async function openGguf(source: ByteSource, file: string): Promise<GgufFile> {
  const { version, metadata, entries, alignment, dataOffset } = await readHeader(source, file);
  const last = entries.at(-1);
  const end = dataOffset + (last === undefined ? 0 : last.start + last.byteLength);
  if (entries.length > 0 && end > source.byteLength) {
    const cursor = new HeaderCursor(new Uint8Array(), true, file);
    throw cursor.fault('TRUNCATED', `its tensors end at byte ${end}, it has ${source.byteLength}`, {
      expected: end,
      byteLength: source.byteLength,
    });
  }
  const tensors = new Map<string, GgufTensor>();
  for (const entry of entries) tensors.set(entry.name, tensorInFile(entry, dataOffset, source));
  return { file, version, metadata, tensors, dataOffset, alignment };
}

async function readHeader(source: ByteSource, file: string): Promise<GgufHeader> {
  for (let length = FIRST_READ_BYTES; ; length *= 2) {
    const whole = length >= source.byteLength;
    const cursor = new HeaderCursor(await source.read(0, Math.min(length, source.byteLength)), whole, file);
    try {
      return parseHeader(cursor);
    } catch (error) {
      if (!(error instanceof MoreBytesNeeded)) throw error;
      if (length >= MAX_HEADER_BYTES) {
        throw cursor.fault('LIMIT_EXCEEDED', `its header must end within ${MAX_HEADER_BYTES} bytes`, {
          limit: MAX_HEADER_BYTES,
        });
      }
    }
  }
}

function tensorInFile(
  { name, type, shape, start, byteLength }: TensorEntry,
  dataOffset: number,
  source: ByteSource,
): GgufTensor {
  const offset = dataOffset + start;
  return {
    name,
    type,
    shape,
    offset,
    byteLength,
    get source() {
      return byteRange(source, offset, byteLength);
    },
  };
}
