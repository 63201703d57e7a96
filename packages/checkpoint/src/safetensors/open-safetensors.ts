// Opens a safetensors file over any source of bytes: a local file, an array in memory, later an HTTP range.
import { byteRange, PithError, type ByteSource } from '@pith/tensor-core';
import { checkOffsets } from './check-offsets.ts';
import { MAX_HEADER_BYTES } from './limits.ts';
import { parseHeader } from './parse-header.ts';
import type { SafetensorsFile, StoredTensor } from './safetensors-file.ts';
import type { HeaderEntry } from './encode-header.ts';

/** How the pointers of Git LFS begin, and their cap. https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md */
const LFS_START = 'version ';
const LFS_BYTES = 1024;

/**
 * Reads and checks the header of a safetensors file; the tensors' bytes are not read.
 *
 * Allocates one buffer of the header's size, which is at most the file's size and 100,000,000 bytes, and the
 * parsed entries (at most 8 times the header).
 *
 * @param file label of the file in errors and descriptors.
 * @throws PithError `SAFETENSORS_FILE_TOO_SHORT`, `SAFETENSORS_LFS_POINTER`, `SAFETENSORS_HEADER_TOO_LARGE`, `SAFETENSORS_HEADER_TRUNCATED`, and
 * those of `parseHeader` and `checkOffsets`.
 */
export async function openSafetensors(source: ByteSource, file: string): Promise<SafetensorsFile> {
  const { byteLength } = source;
  if (byteLength < 8) {
    throw fault('FILE_TOO_SHORT', file, `a file has at least 8 bytes, it has ${byteLength}`, { byteLength });
  }
  const start = await source.read(0, 8);
  if (byteLength <= LFS_BYTES && new TextDecoder().decode(start) === LFS_START) {
    throw new PithError(
      'SAFETENSORS_LFS_POINTER',
      `read safetensors header: ${file} must hold tensors, it is the pointer that Git LFS keeps in their place; fetch them with ` +
        '"git lfs pull", or get it again',
      { details: { file } },
    );
  }
  const declared = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true);
  if (declared > BigInt(MAX_HEADER_BYTES)) {
    const why = `its header claims ${declared} bytes, at most ${MAX_HEADER_BYTES} are read`;
    throw fault('HEADER_TOO_LARGE', file, why, { headerBytes: String(declared), limit: MAX_HEADER_BYTES });
  }
  const headerBytes = Number(declared);
  if (headerBytes > byteLength - 8) {
    const why = `its header claims ${headerBytes} bytes, ${byteLength - 8} follow`;
    throw fault('HEADER_TRUNCATED', file, why, { headerBytes, byteLength });
  }
  const { entries, metadata } = parseHeader(await source.read(8, headerBytes), file);
  const dataOffset = 8 + headerBytes;
  const sorted = checkOffsets(entries, byteLength - dataOffset, file);
  const tensors = new Map<string, StoredTensor>();
  for (const entry of sorted) tensors.set(entry.name, new TensorInFile(entry, file, dataOffset, source));
  return { file, tensors, metadata, dataOffset, byteLength };
}

/** A class, so that a million tensors cost no closure each. */
class TensorInFile implements StoredTensor {
  readonly name;
  readonly dtype;
  readonly shape;
  readonly byteLength: number;
  readonly file: string;
  readonly offset: number;
  readonly #source: ByteSource;

  constructor(entry: HeaderEntry, file: string, dataOffset: number, source: ByteSource) {
    this.name = entry.name;
    this.dtype = entry.dtype;
    this.shape = entry.shape;
    this.byteLength = entry.end - entry.start;
    this.file = file;
    this.offset = dataOffset + entry.start;
    this.#source = source;
  }

  get source(): ByteSource {
    return byteRange(this.#source, this.offset, this.byteLength);
  }
}

function fault(code: string, file: string, why: string, details: Record<string, unknown>): PithError {
  return new PithError(
    `SAFETENSORS_${code}`,
    `read safetensors header: ${file}: ${why}; it is no safetensors file or it is damaged: get it again`,
    { details: { file, ...details } },
  );
}
