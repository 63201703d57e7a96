// Safetensors files made by hand for tests: right ones, and wrong ones that no writer would make.
import { PithError, type ByteSource } from '@pith/tensor-core';

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
  readonly bytes: Uint8Array;
  readonly byteLength: number;
  /** Bytes of all reads. */
  bytesRead = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.byteLength = bytes.byteLength;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.count(offset, length);
    return this.bytes.slice(offset, offset + length);
  }

  async readInto(offset: number, target: Uint8Array): Promise<void> {
    this.count(offset, target.byteLength);
    target.set(this.bytes.subarray(offset, offset + target.byteLength));
  }

  private count(offset: number, length: number): void {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.byteLength)) {
      throw new PithError('BYTES_OUT_OF_RANGE', `read bytes: ${offset} + ${length} of ${this.byteLength}`, {
        kind: 'internal',
      });
    }
    this.bytesRead += length;
  }
}
