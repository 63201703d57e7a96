// A run of bytes that are read when asked for: a part of a file, an array in memory, later an HTTP range.

/** Where the bytes lie in a local file, so that worker threads can read them without the main thread. */
export interface FileLocation {
  /** Path of the file. */
  readonly path: string;
  /** Byte offset of the first byte. */
  readonly offset: number;
}

/** A readable run of bytes of known length. */
export interface ByteSource {
  /** Bytes in all. */
  readonly byteLength: number;
  /** Present where the bytes lie in a local file. */
  readonly file?: FileLocation;
  /**
   * Reads `length` bytes from `offset`. The result may be a view of memory that the source owns: do not write to it.
   *
   * @throws PithError `BYTES_OUT_OF_RANGE` when the range leaves the source, `FILE_TRUNCATED` when a file is shorter
   * than it was.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Reads `target.byteLength` bytes from `offset` into `target`, which is overwritten. */
  readInto(offset: number, target: Uint8Array): Promise<void>;
}
