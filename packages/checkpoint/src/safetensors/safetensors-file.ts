// A safetensors file as it is read: a header that has passed every check, and tensors whose bytes are read when asked
// for.
import type { ByteSource } from '@pith/tensor-core';
import type { StoredDType } from './stored-dtype.ts';

/** A tensor of a file. */
export interface StoredTensor {
  /** Name in the file. */
  readonly name: string;
  /** How its values are stored. */
  readonly dtype: StoredDType;
  /** Outermost axis first; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** Bytes in the file. */
  readonly byteLength: number;
  /** Label of the file: its name within the checkpoint. */
  readonly file: string;
  /** Offset of the first byte, counted from the start of the file. */
  readonly offset: number;
  /** The tensor's bytes alone. */
  readonly source: ByteSource;
}

/** A file whose header was read and checked. */
export interface SafetensorsFile {
  /** Label of the file. */
  readonly file: string;
  /** Tensors by name, in the order of their offsets. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** The header's `__metadata__`; empty where there is none. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Bytes before the tensor data. */
  readonly dataOffset: number;
  /** Bytes of the whole file. */
  readonly byteLength: number;
}
