// Safetensors files made by hand for tests: right ones, and wrong ones that no writer would make.
import { memoryBytes, type ByteSource } from '@pith/tensor-core';

/** A header entry as it stands in the JSON. */
export interface RawEntry {
  readonly dtype: unknown;
  readonly shape: unknown;
  readonly data_offsets: unknown;
}

/** A file of a header (text as it is, or an object) and data. `headerBytes` overrides the length that it claims. */
export function buildFile(
  header: string | Uint8Array | Readonly<Record<string, unknown>>,
  data: Uint8Array | number = 0,
  headerBytes?: bigint,
): Uint8Array {
  const text = header instanceof Uint8Array ? header : typeof header === 'string' ? header : JSON.stringify(header);
  const json = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const body = typeof data === 'number' ? new Uint8Array(data) : data;
  const file = new Uint8Array(8 + json.length + body.length);
  new DataView(file.buffer).setBigUint64(0, headerBytes ?? BigInt(json.length), true);
  file.set(json, 8);
  file.set(body, 8 + json.length);
  return file;
}

/** Bytes in memory as a source that counts what is asked of it. */
export class CountingBytes implements ByteSource {
  readonly byteLength: number;
  /** Bytes of all reads. */
  bytesRead = 0;
  readonly #source: ByteSource;

  constructor(bytes: Uint8Array) {
    this.byteLength = bytes.byteLength;
    this.#source = memoryBytes(bytes);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.bytesRead += length;
    return this.#source.read(offset, length);
  }

  async readInto(offset: number, target: Uint8Array): Promise<void> {
    this.bytesRead += target.byteLength;
    return this.#source.readInto(offset, target);
  }
}
