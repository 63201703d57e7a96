// A piece of the kernel pool's memory.

/** Bytes at a fixed address of a pool's memory, with typed views of them. Views stay valid until the region is freed. */
export class MemoryRegion {
  /** Address of the first byte, a multiple of 64: what kernels and steps take. */
  readonly at: number;
  /** Bytes of the region. */
  readonly byteLength: number;
  readonly #buffer: ArrayBufferLike;

  constructor(buffer: ArrayBufferLike, at: number, byteLength: number) {
    this.#buffer = buffer;
    this.at = at;
    this.byteLength = byteLength;
  }

  /** The bytes. */
  get u8(): Uint8Array {
    return new Uint8Array(this.#buffer, this.at, this.byteLength);
  }

  /** As signed bytes. */
  get i8(): Int8Array {
    return new Int8Array(this.#buffer, this.at, this.byteLength);
  }

  /** As 16-bit words; an odd last byte is left out. */
  get u16(): Uint16Array {
    return new Uint16Array(this.#buffer, this.at, Math.floor(this.byteLength / 2));
  }

  /** As 32-bit integers; bytes that fill no word are left out. */
  get i32(): Int32Array {
    return new Int32Array(this.#buffer, this.at, Math.floor(this.byteLength / 4));
  }

  /** As 32-bit words; bytes that fill no word are left out. */
  get u32(): Uint32Array {
    return new Uint32Array(this.#buffer, this.at, Math.floor(this.byteLength / 4));
  }

  /** As f32 values; bytes that fill no value are left out. */
  get f32(): Float32Array {
    return new Float32Array(this.#buffer, this.at, Math.floor(this.byteLength / 4));
  }

  /** As f64 values; bytes that fill no value are left out. */
  get f64(): Float64Array {
    return new Float64Array(this.#buffer, this.at, Math.floor(this.byteLength / 8));
  }
}
