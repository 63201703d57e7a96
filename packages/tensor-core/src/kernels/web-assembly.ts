// The part of the WebAssembly JavaScript interface that kernels need. TypeScript declares it in its DOM library only,
// which Node packages do without.

/** A compiled binary. It can be posted to a worker. */
export interface WasmModule {
  /** `WebAssembly.Module`. */
  readonly [Symbol.toStringTag]: string;
}

/** Linear memory in pages of 64 KiB. */
export interface WasmMemory<B extends ArrayBufferLike = ArrayBufferLike> {
  /** The bytes; a memory that is not shared gets a new buffer when it grows. */
  readonly buffer: B;
  /** Adds pages; returns the number before. */
  grow(pages: number): number;
}

interface WasmApi {
  readonly Module: new (binary: Uint8Array) => WasmModule;
  readonly Memory: new (limits: { initial: number; maximum: number; shared: boolean }) => WasmMemory;
  readonly Instance: new (
    module: WasmModule,
    imports: { env: { memory: WasmMemory } },
  ) => { readonly exports: Readonly<Record<string, unknown>> };
}

/** Bytes of a page. */
export const PAGE_BYTES = 65536;

/** The WebAssembly object of the host. */
export const wasm: WasmApi = (globalThis as unknown as { WebAssembly: WasmApi }).WebAssembly;
