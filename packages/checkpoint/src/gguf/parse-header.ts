// The header of a GGUF file: metadata and the list of tensors. Specification: ggml, docs/gguf.md. Versions 2 and 3 have the
// same layout; version 1 (32-bit counts, gone since 2023) and files written by big-endian machines are refused by name.
import { VALUE_TYPES, type GgufArray, type GgufScalar, type GgufValue, type GgufValueType } from './gguf-file.ts';
import { GGML_TYPES, ggmlTypeName, type GgmlTypeName } from './ggml-types.ts';
import type { HeaderCursor } from './header-cursor.ts';
import {
  MAX_ALIGNMENT,
  MAX_ARRAY_DEPTH,
  MAX_AXES,
  MAX_HEADER_BYTES,
  MAX_METADATA_ENTRIES,
  MAX_NAME_BYTES,
  MAX_TENSORS,
} from './limits.ts';

/** `GGUF`, little-endian. */
const MAGIC = 0x46554747;
const DEFAULT_ALIGNMENT = 32;

/** A tensor as the header lists it. */
export interface TensorEntry {
  readonly name: string;
  readonly type: GgmlTypeName;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** From the start of the data. */
  readonly start: number;
  readonly byteLength: number;
}

/** What a header says. */
export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly entries: readonly TensorEntry[];
  readonly alignment: number;
  readonly dataOffset: number;
}

/**
 * Parses a header.
 *
 * @throws PithError `GGUF_...`; `MoreBytesNeeded` where it goes on.
 */
export function parseHeader(cursor: HeaderCursor): GgufHeader {
  const version = readVersion(cursor);
  const tensorCount = cursor.count('the number of tensors', MAX_TENSORS);
  const entryCount = cursor.count('the number of metadata entries', MAX_METADATA_ENTRIES);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entryCount; i++) {
    const key = cursor.string('a metadata key', MAX_NAME_BYTES);
    if (key === '') throw cursor.fault('KEY_INVALID', 'a metadata key may not be empty');
    if (metadata.has(key)) throw cursor.fault('DUPLICATE_KEY', `the metadata key ${quoted(key)} occurs twice`, { key });
    metadata.set(key, readValue(cursor, key));
  }
  const alignment = readAlignment(cursor, metadata);
  const entries = readEntries(cursor, tensorCount, alignment);
  return { version, metadata, entries, alignment, dataOffset: padded(cursor.at, alignment) };
}

function readVersion(cursor: HeaderCursor): number {
  if (cursor.u32('the magic number') !== MAGIC) throw cursor.fault('MAGIC', 'it must begin with the letters GGUF');
  const version = cursor.u32('the version');
  if (version === 2 || version === 3) return version;
  const why =
    version >>> 24 !== 0 && (version & 0xff) === 0
      ? 'it was written by a big-endian machine'
      : `it has version ${version}`;
  throw cursor.fault('VERSION', `versions 2 and 3, little-endian, are read; ${why}`, { version });
}

function readAlignment(cursor: HeaderCursor, metadata: ReadonlyMap<string, GgufValue>): number {
  const entry = metadata.get('general.alignment');
  if (entry === undefined) return DEFAULT_ALIGNMENT;
  const value = entry.type === 'uint32' ? entry.value : undefined;
  if (typeof value === 'number' && value > 0 && value <= MAX_ALIGNMENT && (value & (value - 1)) === 0) return value;
  throw cursor.fault('ALIGNMENT', `general.alignment must be a power of two up to ${MAX_ALIGNMENT} of type uint32`);
}

function readEntries(cursor: HeaderCursor, count: number, alignment: number): TensorEntry[] {
  const entries: TensorEntry[] = [];
  const names = new Set<string>();
  let expected = 0;
  for (let i = 0; i < count; i++) {
    const name = cursor.string('the name of a tensor', MAX_NAME_BYTES);
    const fault = (code: string, why: string): Error =>
      cursor.fault(code, `tensor ${quoted(name)}: ${why}`, { tensor: name.slice(0, 80) });
    if (name === '') throw fault('NAME_INVALID', 'its name may not be empty');
    if (names.has(name)) throw fault('DUPLICATE_TENSOR', 'its name occurs twice');
    names.add(name);
    const axes = cursor.u32('the number of axes');
    if (axes > MAX_AXES) throw fault('SHAPE_INVALID', `it may have at most ${MAX_AXES} axes, it claims ${axes}`);
    const shape = Array.from({ length: axes }, () => cursor.count(`an axis of ${quoted(name)}`, 2 ** 48)).reverse();
    const id = cursor.u32('the type of a tensor');
    const type = ggmlTypeName(id);
    if (type === undefined) throw fault('TYPE_UNKNOWN', `the number ${id} is not in use as a type of tensors`);
    const start = cursor.count(`the offset of ${quoted(name)}`, Number.MAX_SAFE_INTEGER);
    const byteLength = bytesOf(type, shape);
    if (byteLength === undefined) {
      throw fault(
        'SHAPE_INVALID',
        `${type} [${shape.join(', ')}] must have whole blocks of ${GGML_TYPES[type].blockSize} along its last axis and fewer than 2^53 bytes`,
      );
    }
    if (start !== expected)
      throw fault('OFFSET_INVALID', `it must begin where the one before it ends, at ${expected}, it says ${start}`);
    expected = padded(start + byteLength, alignment);
    entries.push({ name, type, shape, start, byteLength });
  }
  return entries;
}

/** Bytes of a tensor; undefined where blocks do not fit its rows or the size passes 2^53. */
export function bytesOf(type: GgmlTypeName, shape: readonly number[]): number | undefined {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const columns = shape.at(-1) ?? 1;
  if (columns % blockSize !== 0) return undefined;
  let blocks = columns / blockSize;
  for (const axis of shape.slice(0, -1)) {
    blocks *= axis;
    if (!Number.isSafeInteger(blocks)) return undefined;
  }
  const bytes = blocks * blockBytes;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The next multiple of the alignment. */
export function padded(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

function readValue(cursor: HeaderCursor, key: string): GgufValue {
  const type = readType(cursor, key);
  if (type === 'array') return { type, items: readArray(cursor, key, 1) };
  return { type, value: readScalar(cursor, type, key) };
}

function readType(cursor: HeaderCursor, key: string): GgufValueType {
  const id = cursor.u32(`the type of ${quoted(key)}`);
  const type = VALUE_TYPES[id];
  if (type !== undefined) return type;
  throw cursor.fault(
    'VALUE_TYPE_UNKNOWN',
    `the metadata entry ${quoted(key)} has the type ${id}, the last one is ${VALUE_TYPES.length - 1}`,
    { key },
  );
}

/** Fewest bytes of a value, so that a count is checked against what the file can hold. */
const LEAST_BYTES: Readonly<Record<GgufValueType, number>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: 8,
  array: 12,
  uint64: 8,
  int64: 8,
  float64: 8,
};

function readArray(cursor: HeaderCursor, key: string, depth: number): GgufArray {
  if (depth > MAX_ARRAY_DEPTH) {
    throw cursor.fault('LIMIT_EXCEEDED', `arrays may be nested ${MAX_ARRAY_DEPTH} deep, ${quoted(key)} is deeper`, {
      key,
    });
  }
  const type = readType(cursor, key);
  const count = cursor.count(`the length of ${quoted(key)}`, MAX_HEADER_BYTES);
  cursor.requireRoom(count, LEAST_BYTES[type], quoted(key));
  if (type === 'array') {
    return { type, values: Array.from({ length: count }, () => readArray(cursor, key, depth + 1)) };
  }
  const values: GgufScalar[] = [];
  for (let i = 0; i < count; i++) values.push(readScalar(cursor, type, key));
  return { type, values };
}

function readScalar(cursor: HeaderCursor, type: Exclude<GgufValueType, 'array'>, key: string): GgufScalar {
  switch (type) {
    case 'uint8':
      return cursor.u8(key);
    case 'int8':
      return cursor.i8(key);
    case 'uint16':
      return cursor.u16(key);
    case 'int16':
      return cursor.i16(key);
    case 'uint32':
      return cursor.u32(key);
    case 'int32':
      return cursor.i32(key);
    case 'float32':
      return cursor.f32(key);
    case 'float64':
      return cursor.f64(key);
    case 'uint64':
      return cursor.u64(key);
    case 'int64':
      return cursor.i64(key);
    case 'string':
      return cursor.string(quoted(key), MAX_HEADER_BYTES);
    case 'bool': {
      const value = cursor.u8(key);
      if (value <= 1) return value === 1;
      throw cursor.fault('BOOL_INVALID', `the metadata entry ${quoted(key)} must be 0 or 1, it is ${value}`, { key });
    }
  }
}

/** A name in an error: cut, and with nothing that moves a terminal's cursor. */
function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 80));
}
