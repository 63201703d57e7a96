// Reads numbers and strings from the first bytes of a GGUF file. The length of a header is not written anywhere, so a
// reader that runs out of bytes says so and is given more.
import { PithError } from '@pith/tensor-core';

/** Thrown when the header goes on behind the bytes that were read; never leaves this folder. */
export class MoreBytesNeeded extends Error {}

/** A position in the header, moving forward. All numbers are little-endian. */
export class HeaderCursor {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #file: string;
  /** True where the bytes are the whole file. */
  readonly #whole: boolean;
  readonly #text = new TextDecoder('utf-8', { fatal: true });
  #at = 0;

  constructor(bytes: Uint8Array, whole: boolean, file: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#whole = whole;
    this.#file = file;
  }

  /** Bytes before the position. */
  get at(): number {
    return this.#at;
  }

  /** Bytes behind the position, as far as they were read; all that follow when the file was read whole. */
  get left(): number {
    return this.#bytes.byteLength - this.#at;
  }

  /** Moves over `length` bytes and returns where they begin. */
  take(length: number, what: string): number {
    if (length > this.left) {
      if (!this.#whole) throw new MoreBytesNeeded();
      throw this.fault('TRUNCATED', `it ends in ${what}: ${length} bytes were expected, ${this.left} follow`, { what });
    }
    const from = this.#at;
    this.#at += length;
    return from;
  }

  /** Refuses a count of items that cannot fit, each of at least `itemBytes`, before anything is made for them. */
  requireRoom(count: number, itemBytes: number, what: string): void {
    if (count * itemBytes > this.left && this.#whole) this.take(count * itemBytes, what);
    if (count * itemBytes > this.left) throw new MoreBytesNeeded();
  }

  u8(what: string): number {
    return this.#view.getUint8(this.take(1, what));
  }
  i8(what: string): number {
    return this.#view.getInt8(this.take(1, what));
  }
  u16(what: string): number {
    return this.#view.getUint16(this.take(2, what), true);
  }
  i16(what: string): number {
    return this.#view.getInt16(this.take(2, what), true);
  }
  u32(what: string): number {
    return this.#view.getUint32(this.take(4, what), true);
  }
  i32(what: string): number {
    return this.#view.getInt32(this.take(4, what), true);
  }
  f32(what: string): number {
    return this.#view.getFloat32(this.take(4, what), true);
  }
  f64(what: string): number {
    return this.#view.getFloat64(this.take(8, what), true);
  }
  u64(what: string): bigint {
    return this.#view.getBigUint64(this.take(8, what), true);
  }
  i64(what: string): bigint {
    return this.#view.getBigInt64(this.take(8, what), true);
  }

  /** A count or a length: at most `limit`. */
  count(what: string, limit: number): number {
    const value = this.u64(what);
    if (value <= BigInt(limit)) return Number(value);
    throw this.fault('LIMIT_EXCEEDED', `${what} may be at most ${limit}, it claims ${value}`, {
      what,
      limit,
      got: String(value),
    });
  }

  /** A string: its length in bytes, then UTF-8. */
  string(what: string, limit: number): string {
    const length = this.count(`the length of ${what}`, limit);
    const from = this.take(length, what);
    try {
      return this.#text.decode(this.#bytes.subarray(from, from + length));
    } catch (cause) {
      throw this.fault('NOT_UTF8', `${what} must be UTF-8`, { what }, cause);
    }
  }

  /** An error about this file. */
  fault(code: string, why: string, details: Record<string, unknown> = {}, cause?: unknown): PithError {
    return new PithError(
      `GGUF_${code}`,
      `read GGUF: ${this.#file}: ${why}; it is no GGUF file or it is damaged: get it again`,
      {
        details: { file: this.#file, ...details },
        ...(cause !== undefined && { cause }),
      },
    );
  }
}
