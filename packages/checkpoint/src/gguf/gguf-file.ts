// What a GGUF file says about itself.
import type { ByteSource } from '@pith/tensor-core';
import type { GgmlTypeName } from './ggml-types.ts';

/** Types of metadata values, in the order of their numbers in the file. */
export const VALUE_TYPES = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
] as const;

/** Type of a metadata value. */
export type GgufValueType = (typeof VALUE_TYPES)[number];

/** A metadata value that is no array. Integers of 64 bits are bigints. */
export type GgufScalar = number | bigint | boolean | string;

/** A metadata value with its type, so that it can be written as it was read. */
export type GgufValue =
  | {
      /** Type in the file. */
      readonly type: Exclude<GgufValueType, 'array'>;
      /** The value. */
      readonly value: GgufScalar;
    }
  | {
      /** Tells the union apart. */
      readonly type: 'array';
      /** Its elements. */
      readonly items: GgufArray;
    };

/** An array of metadata values, all of one type. */
export type GgufArray =
  | {
      /** Type of the elements in the file. */
      readonly type: Exclude<GgufValueType, 'array'>;
      /** The elements. */
      readonly values: readonly GgufScalar[];
    }
  | {
      /** Tells the union apart. */
      readonly type: 'array';
      /** Arrays, each with a type of its own. */
      readonly values: readonly GgufArray[];
    };

/** A tensor in a GGUF file. */
export interface GgufTensor {
  /** `blk.0.attn_q.weight`. */
  readonly name: string;
  /** How values are stored. */
  readonly type: GgmlTypeName;
  /** Outermost axis first: the reverse of the order in the file. */
  readonly shape: readonly number[];
  /** Byte offset in the file. */
  readonly offset: number;
  /** Bytes. */
  readonly byteLength: number;
  /** The bytes. */
  readonly source: ByteSource;
}

/** An open GGUF file. */
export interface GgufFile {
  /** Label in errors. */
  readonly file: string;
  /** 2 or 3. */
  readonly version: number;
  /** Metadata by key, in the order of the file. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** Tensors by name, in the order of the file. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Byte offset of the first tensor. */
  readonly dataOffset: number;
  /** Bytes that tensors are aligned to. */
  readonly alignment: number;
}
