// The JSON of a safetensors header, read entry by entry: the first wrong value ends it, before memory is spent on what
// follows. Nothing here knows the file's length; `check-offsets` does.
//
// Memory: a header of h bytes is kept as text (h, or 2 h with non-Latin names) and as entries, at most 8 h: the
// shortest legal entry has 50 bytes and takes under 400.
import { PithError } from '@pith/tensor-core';
import { decodeUtf8, JsonReader, type JsonOrigin } from '../json/json-reader.ts';
import type { HeaderEntry } from './encode-header.ts';
import { MAX_NAME_LENGTH, MAX_RANK } from './limits.ts';
import { fromFormatName, STORED_DTYPES, storedBits, type StoredDType } from './stored-dtype.ts';
import { elementCount, tensorByteLength } from './tensor-bytes.ts';

/** What a header says. */
export interface ParsedHeader {
  readonly entries: readonly HeaderEntry[];
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Parses the JSON of a header. `file` is named in errors.
 *
 * @throws PithError `SAFETENSORS_HEADER_NOT_UTF8`, `SAFETENSORS_HEADER_SYNTAX`, `SAFETENSORS_DUPLICATE_NAME`,
 * `SAFETENSORS_NAME_INVALID`, `SAFETENSORS_METADATA_INVALID`, `SAFETENSORS_ENTRY_INVALID`,
 * `SAFETENSORS_DTYPE_UNKNOWN`, `SAFETENSORS_SHAPE_INVALID`, `SAFETENSORS_SHAPE_OVERFLOW`,
 * `SAFETENSORS_OFFSETS_INVALID`, `SAFETENSORS_SIZE_MISMATCH`.
 */
export function parseHeader(bytes: Uint8Array, file: string): ParsedHeader {
  const origin: JsonOrigin = { codes: 'SAFETENSORS_HEADER', operation: 'read safetensors header', file };
  const text = decodeUtf8(bytes, origin);
  return new HeaderParser(new JsonReader(text, origin), file).parse();
}

class HeaderParser {
  private readonly reader: JsonReader;
  private readonly file: string;
  private readonly entries = new Map<string, HeaderEntry>();
  private metadata: Map<string, string> | undefined;

  constructor(reader: JsonReader, file: string) {
    this.reader = reader;
    this.file = file;
  }

  parse(): ParsedHeader {
    const { reader } = this;
    // As in the reference, the brace is the first byte: white space before it has been used to hide things.
    if (reader.text.charAt(0) !== '{') throw reader.fail('"{" as the first byte', 0);
    reader.expect('{');
    if (!reader.accept('}')) {
      do this.member();
      while (reader.accept(','));
      reader.expect('}');
    }
    reader.end();
    return { entries: [...this.entries.values()], metadata: this.metadata ?? new Map() };
  }

  private member(): void {
    const { reader } = this;
    const name = reader.string();
    const isMetadata = name === '__metadata__';
    if (isMetadata ? this.metadata !== undefined : this.entries.has(name)) {
      throw this.fault('DUPLICATE_NAME', name, `the name occurs twice; readers disagree on which of the two counts`);
    }
    if (name === '' || name.length > MAX_NAME_LENGTH) {
      throw this.fault('NAME_INVALID', name.slice(0, 80), `a name has 1 to ${MAX_NAME_LENGTH} characters`);
    }
    reader.expect(':');
    if (isMetadata) this.metadata = this.readMetadata();
    else this.entries.set(name, this.entry(name));
  }

  private readMetadata(): Map<string, string> {
    const { reader } = this;
    const metadata = new Map<string, string>();
    const invalid = (why: string) => this.fault('METADATA_INVALID', '__metadata__', why);
    if (reader.peek() !== '{') throw invalid('it must be an object of strings');
    reader.expect('{');
    if (reader.accept('}')) return metadata;
    do {
      const key = reader.string();
      if (metadata.has(key)) throw invalid(`the key ${JSON.stringify(key)} occurs twice`);
      reader.expect(':');
      if (reader.peek() !== '"') throw invalid(`the value of ${JSON.stringify(key)} must be a string`);
      metadata.set(key, reader.string());
    } while (reader.accept(','));
    reader.expect('}');
    return metadata;
  }

  private entry(name: string): HeaderEntry {
    const { reader } = this;
    let dtype: StoredDType | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    if (reader.peek() !== '{') throw this.fault('ENTRY_INVALID', name, 'its entry must be an object');
    reader.expect('{');
    if (reader.peek() !== '}') {
      do {
        const key = reader.string();
        reader.expect(':');
        if (key === 'dtype' && dtype === undefined) dtype = this.dtype(name);
        else if (key === 'shape' && shape === undefined) shape = this.integers(name, 'shape', MAX_RANK);
        else if (key === 'data_offsets' && offsets === undefined) offsets = this.integers(name, 'data_offsets', 2);
        else {
          const why = ['dtype', 'shape', 'data_offsets'].includes(key) ? 'occurs twice' : 'is not part of the format';
          throw this.fault('ENTRY_INVALID', name, `the field ${JSON.stringify(key.slice(0, 80))} ${why}`);
        }
      } while (reader.accept(','));
    }
    reader.expect('}');
    if (dtype === undefined || shape === undefined || offsets === undefined) {
      const missing = dtype === undefined ? 'dtype' : shape === undefined ? 'shape' : 'data_offsets';
      throw this.fault('ENTRY_INVALID', name, `the field "${missing}" is missing`);
    }
    return this.checked(name, dtype, shape, offsets);
  }

  private checked(name: string, dtype: StoredDType, shape: number[], offsets: number[]): HeaderEntry {
    const [start, end] = offsets;
    if (start === undefined || end === undefined || start > end) {
      const got = `[${offsets.join(', ')}]`;
      throw this.fault('OFFSETS_INVALID', name, `data_offsets must be [start, end] with start <= end, got ${got}`);
    }
    const label = `${dtype.toUpperCase()} [${shape.join(', ')}]`;
    const byteLength = tensorByteLength(dtype, shape);
    if (byteLength === undefined) {
      const partial = (elementCount(shape) ?? Infinity) * storedBits(dtype) <= Number.MAX_SAFE_INTEGER;
      if (partial) throw this.fault('SHAPE_INVALID', name, `${label} does not fill a whole number of bytes`);
      throw this.fault('SHAPE_OVERFLOW', name, `the size of ${label} passes 2^53`);
    }
    if (byteLength !== end - start) {
      const why = `${label} takes ${byteLength} bytes, its data_offsets span ${end - start}`;
      throw this.fault('SIZE_MISMATCH', name, why, { expected: byteLength, got: end - start });
    }
    return { name, dtype, shape, start, end };
  }

  private dtype(name: string): StoredDType {
    if (this.reader.peek() !== '"') throw this.fault('ENTRY_INVALID', name, 'its dtype must be a string');
    const text = this.reader.string();
    const dtype = fromFormatName(text);
    if (dtype !== undefined) return dtype;
    const known = STORED_DTYPES.map((one) => one.toUpperCase()).join(', ');
    const why = `the dtype ${JSON.stringify(text.slice(0, 80))} is not one of the format (${known})`;
    throw this.fault('DTYPE_UNKNOWN', name, why, { dtype: text.slice(0, 80) });
  }

  private integers(name: string, field: 'shape' | 'data_offsets', most: number): number[] {
    const { reader } = this;
    const code = field === 'shape' ? 'SHAPE_INVALID' : 'OFFSETS_INVALID';
    if (reader.peek() !== '[') throw this.fault(code, name, `its ${field} must be a list of whole numbers`);
    reader.expect('[');
    const result: number[] = [];
    if (reader.accept(']')) return result;
    do {
      const start = reader.peek() === '' ? '' : reader.text.charAt(reader.position);
      if (!/[-0-9]/.test(start)) throw this.fault(code, name, `its ${field} must hold whole numbers only`);
      const text = reader.numberText();
      const value = Number(text);
      if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value)) {
        const why = `its ${field} must hold whole numbers from 0 to 2^53 - 1, got ${text.slice(0, 40)}`;
        throw this.fault(code, name, why);
      }
      if (result.length === most) throw this.fault(code, name, `its ${field} has more than ${most} numbers`);
      result.push(value);
    } while (reader.accept(','));
    reader.expect(']');
    return result;
  }

  private fault(code: string, tensor: string, why: string, details: Record<string, unknown> = {}): PithError {
    return new PithError(
      `SAFETENSORS_${code}`,
      `read safetensors header: tensor ${JSON.stringify(tensor)} in ${this.file}: ${why}; ` +
        `the file is damaged or was made by a faulty writer: get it again`,
      { details: { file: this.file, tensor, ...details } },
    );
  }
}
