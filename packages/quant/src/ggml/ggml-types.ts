// What goes into and comes out of writing ggml's types.
import type { KernelHost, RunOptions, WeightTensor } from '@pith/tensor-core';
import type { ChunkHash, PieceDestination, QuantizationError } from '../rtn/rtn-types.ts';
import type { BlockType } from './quantize-blocks.ts';

/** A type that tensors of a GGUF file can be written in, by its name on the command line: `q4_k`. */
export type GgmlWritableType = BlockType | 'f32';

/** One tensor to write. */
export interface GgmlJob {
  /**
   * The values, in any representation. Blocks lie along the last axis; a vector counts as one row. Dense f32, f16 and bf16
   * weights that lie in a file are read by the host's threads, everything else through its methods.
   */
  readonly weight: WeightTensor;
  /** What it is written in. */
  readonly type: GgmlWritableType;
  /**
   * f32, one for each column: how much an error in that column counts (llama.cpp's imatrix: mean square of the input). All
   * alike when left out. F32, F16, BF16, Q8_0, MXFP4, TQ1_0 and TQ2_0 do not look at it, IQ2_XXS, IQ2_XS and IQ1_S cannot do without, as
   * in ggml.
   */
  readonly importance?: Float32Array | undefined;
  /** Which row of the weight is written as row i, for each i; their own order when left out. See `interleavedRows`. */
  readonly rowOrder?: Int32Array | undefined;
  /** Name in errors, progress and results; that of the weight when left out. */
  readonly name?: string | undefined;
}

/** How what was written, restored as ggml restores it, differs from the values. Sums in f64. */
export type GgmlError = Omit<QuantizationError, 'clippedFraction' | 'zeroScales'>;

/** What came of one tensor. */
export interface GgmlResult {
  /** As in the job. */
  readonly name: string;
  /** What it was written in. */
  readonly type: GgmlWritableType;
  /** Bytes of all blocks. */
  readonly bytesWritten: number;
  /** How it differs from the values. */
  readonly error: GgmlError;
  /** `source` for stored bytes that were read (dense weights only), `codes` for what was written; empty unless asked for. */
  readonly hashes: readonly ChunkHash[];
}

/** How `quantizeGgmlInto` runs. */
export interface QuantizeGgmlOptions extends RunOptions {
  /**
   * Threads and shared memory that it runs on: a `KernelPool`; or this thread alone: `localHost()`, which writes to memory only and cannot
   * hash.
   */
  readonly host: KernelHost;
  /** Hash every chunk that is read and written; off when left out. */
  readonly hash?: boolean;
  /** Input bytes per chunk, about; 4 MiB when left out. Never changes the result. */
  readonly chunkBytes?: number;
}

/** Where the blocks go: a range of an existing file, or memory. */
export type GgmlDestination = PieceDestination;
