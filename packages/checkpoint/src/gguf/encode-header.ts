// The bytes of a GGUF header, version 3.
import { PithError } from '@pith/tensor-core';
import { VALUE_TYPES, type GgufArray, type GgufScalar, type GgufValue, type GgufValueType } from './gguf-file.ts';
import { GGML_TYPES, type GgmlTypeName } from './ggml-types.ts';
import { bytesOf, padded } from './parse-header.ts';

const VERSION = 3;

/** A tensor that is to be written. */
export interface GgufTensorSpec {
  /** Name in the file. */
  readonly name: string;
  /** How values are stored. */
  readonly type: GgmlTypeName;
  /** Outermost axis first. */
  readonly shape: readonly number[];
}

/** Where a tensor will lie. */
export interface PlacedTensor extends GgufTensorSpec {
  /** Byte offset in the file. */
  readonly offset: number;
  /** Bytes, padding not included. */
  readonly byteLength: number;
}

/** A file before its tensors are written. */
export interface GgufLayout {
  /** Bytes before the first tensor, padding included. */
  readonly header: Uint8Array;
  /** Tensors in the order of the file. */
  readonly tensors: readonly PlacedTensor[];
  /** Bytes of the whole file. */
  readonly byteLength: number;
}

/**
 * Lays out a file: tensors in the order given, each at a multiple of the alignment (`general.alignment`, 32 without it).
 *
 * @throws PithError `GGUF_SHAPE_INVALID` for a tensor whose rows are no whole blocks of its type.
 */
export function planGguf(metadata: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensorSpec[]): GgufLayout {
  const given = metadata.get('general.alignment');
  const alignment = given?.type === 'uint32' ? (given.value as number) : 32;
  const out = new ByteWriter();
  out.ascii('GGUF');
  out.u32(VERSION);
  out.u64(BigInt(tensors.length));
  out.u64(BigInt(metadata.size));
  for (const [key, value] of metadata) {
    out.string(key);
    writeValue(out, value);
  }
  let start = 0;
  const starts = tensors.map(({ name, type, shape }) => {
    const byteLength = bytesOf(type, shape);
    if (byteLength === undefined) {
      throw new PithError(
        'GGUF_SHAPE_INVALID',
        `write GGUF: ${name} [${shape.join(', ')}] must have whole blocks of ${GGML_TYPES[type].blockSize} along its last axis to be stored as ${type}; choose a type with smaller blocks`,
        { details: { tensor: name, type, shape } },
      );
    }
    out.string(name);
    out.u32(shape.length);
    for (const axis of [...shape].reverse()) out.u64(BigInt(axis));
    out.u32(GGML_TYPES[type].id);
    out.u64(BigInt(start));
    const placed = { start, byteLength };
    start = padded(start + byteLength, alignment);
    return placed;
  });
  const dataOffset = padded(out.byteLength, alignment);
  return {
    header: out.bytes(dataOffset),
    tensors: tensors.map((tensor, i) => ({
      ...tensor,
      offset: dataOffset + starts[i]!.start,
      byteLength: starts[i]!.byteLength,
    })),
    byteLength: dataOffset + start,
  };
}

function writeValue(out: ByteWriter, value: GgufValue): void {
  out.u32(VALUE_TYPES.indexOf(value.type));
  if (value.type === 'array') writeArray(out, value.items);
  else writeScalar(out, value.type, value.value);
}

function writeArray(out: ByteWriter, items: GgufArray): void {
  out.u32(VALUE_TYPES.indexOf(items.type));
  out.u64(BigInt(items.values.length));
  if (items.type === 'array') for (const inner of items.values) writeArray(out, inner);
  else for (const value of items.values) writeScalar(out, items.type, value);
}

function writeScalar(out: ByteWriter, type: Exclude<GgufValueType, 'array'>, value: GgufScalar): void {
  const number = () => Number(value);
  switch (type) {
    case 'string':
      return out.string(value as string);
    case 'bool':
      return out.put(1, (view, at) => view.setUint8(at, value ? 1 : 0));
    case 'uint8':
      return out.put(1, (view, at) => view.setUint8(at, number()));
    case 'int8':
      return out.put(1, (view, at) => view.setInt8(at, number()));
    case 'uint16':
      return out.put(2, (view, at) => view.setUint16(at, number(), true));
    case 'int16':
      return out.put(2, (view, at) => view.setInt16(at, number(), true));
    case 'uint32':
      return out.u32(number());
    case 'int32':
      return out.put(4, (view, at) => view.setInt32(at, number(), true));
    case 'float32':
      return out.put(4, (view, at) => view.setFloat32(at, number(), true));
    case 'float64':
      return out.put(8, (view, at) => view.setFloat64(at, number(), true));
    case 'uint64':
      return out.u64(BigInt(value));
    case 'int64':
      return out.put(8, (view, at) => view.setBigInt64(at, BigInt(value), true));
  }
}

/** Bytes that grow. */
class ByteWriter {
  #bytes = new Uint8Array(4096);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  readonly #encoder = new TextEncoder();

  get byteLength(): number {
    return this.#length;
  }

  /** The bytes, followed by zeros up to `length`. */
  bytes(length: number): Uint8Array {
    this.#reserve(length - this.#length);
    return this.#bytes.slice(0, length);
  }

  put(length: number, write: (view: DataView, at: number) => void): void {
    this.#reserve(length);
    write(this.#view, this.#length);
    this.#length += length;
  }

  u32(value: number): void {
    this.put(4, (view, at) => view.setUint32(at, value, true));
  }

  u64(value: bigint): void {
    this.put(8, (view, at) => view.setBigUint64(at, value, true));
  }

  ascii(text: string): void {
    for (const char of text) this.put(1, (view, at) => view.setUint8(at, char.charCodeAt(0)));
  }

  string(text: string): void {
    const encoded = this.#encoder.encode(text);
    this.u64(BigInt(encoded.length));
    this.#reserve(encoded.length);
    this.#bytes.set(encoded, this.#length);
    this.#length += encoded.length;
  }

  #reserve(length: number): void {
    if (this.#length + length <= this.#bytes.length) return;
    const grown = new Uint8Array(2 * (this.#length + length));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
