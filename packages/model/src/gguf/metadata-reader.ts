// Typed access to the metadata of a GGUF file: a value that is missing or of another type is an error that names its key.
import type { GgufScalar, GgufValue } from '@pith/checkpoint';
import { PithError } from '@pith/tensor-core';

/** Reads the metadata of one file. */
export class MetadataReader {
  readonly #metadata: ReadonlyMap<string, GgufValue>;
  readonly #file: string;

  constructor(metadata: ReadonlyMap<string, GgufValue>, file: string) {
    this.#metadata = metadata;
    this.#file = file;
  }

  /** True where the key is there. */
  has(key: string): boolean {
    return this.#metadata.has(key);
  }

  /** A string, or undefined where the key is missing. */
  text(key: string): string | undefined {
    return this.#scalar(key, 'a string', (value) => typeof value === 'string') as string | undefined;
  }

  /** A truth value, or undefined where the key is missing. */
  flag(key: string): boolean | undefined {
    return this.#scalar(key, 'true or false', (value) => typeof value === 'boolean') as boolean | undefined;
  }

  /** A number, 64-bit integers included as far as they are exact, or undefined where the key is missing. */
  number(key: string): number | undefined {
    const value = this.#scalar(key, 'a finite number', (given) => {
      return typeof given === 'bigint' ? Number.isSafeInteger(Number(given)) : Number.isFinite(given);
    });
    return value === undefined ? undefined : Number(value);
  }

  /** A whole number from 0 on, or undefined where the key is missing. */
  count(key: string): number | undefined {
    const value = this.number(key);
    if (value === undefined || (Number.isSafeInteger(value) && value >= 0)) return value;
    throw this.#fault(key, 'a whole number from 0 on', String(value));
  }

  /** A count that may be given for each layer, where it is the same in all of them; undefined where the key is missing. */
  layerCount(key: string): number | undefined {
    const entry = this.#metadata.get(key);
    if (entry?.type !== 'array') return this.count(key);
    const values = this.numbers(key)!;
    const [first = -1] = values;
    if (values.every((value) => value === first) && Number.isSafeInteger(first) && first >= 0) return first;
    throw this.#fault(key, 'the same whole number in every layer', `[${values.slice(0, 8).join(', ')}]`);
  }

  /** An array of strings, or undefined where the key is missing. */
  texts(key: string): readonly string[] | undefined {
    return this.#list(key, 'an array of strings', (value) => typeof value === 'string') as
      readonly string[] | undefined;
  }

  /** An array of finite numbers, or undefined where the key is missing. */
  numbers(key: string): readonly number[] | undefined {
    return this.#list(key, 'an array of finite numbers', (value) => Number.isFinite(value)) as
      readonly number[] | undefined;
  }

  /** An array of truth values, or undefined where the key is missing. */
  flags(key: string): readonly boolean[] | undefined {
    return this.#list(key, 'an array of truth values', (value) => typeof value === 'boolean') as
      readonly boolean[] | undefined;
  }

  /** Whether a value is an array; false where the key is missing. */
  isList(key: string): boolean {
    return this.#metadata.get(key)?.type === 'array';
  }

  /** The value of a reader, or an error where it is missing. */
  require<T>(key: string, value: T | undefined): T {
    if (value !== undefined) return value;
    throw new PithError(
      'GGUF_KEY_MISSING',
      `open GGUF: ${this.#file} must have the key ${key}, it has not; get the file again`,
      {
        details: { file: this.#file, key },
      },
    );
  }

  #scalar(key: string, what: string, is: (value: GgufScalar) => boolean): GgufScalar | undefined {
    const entry = this.#metadata.get(key);
    if (entry === undefined) return undefined;
    if (entry.type !== 'array' && is(entry.value)) return entry.value;
    throw this.#fault(
      key,
      what,
      entry.type === 'array' ? 'an array' : `${entry.type} ${String(entry.value).slice(0, 60)}`,
    );
  }

  #list(key: string, what: string, is: (value: GgufScalar) => boolean): readonly GgufScalar[] | undefined {
    const entry = this.#metadata.get(key);
    if (entry === undefined) return undefined;
    if (entry.type !== 'array' || entry.items.type === 'array') throw this.#fault(key, what, entry.type);
    const values: readonly GgufScalar[] = entry.items.values;
    const wrong = values.findIndex((value) => !is(value));
    if (wrong < 0) return values;
    throw this.#fault(key, what, `${String(values[wrong]).slice(0, 60)} at ${wrong}`);
  }

  #fault(key: string, what: string, got: string): PithError {
    return new PithError(
      'GGUF_VALUE_INVALID',
      `open GGUF: ${this.#file}: ${key} must be ${what}, got ${got}; the file is damaged or of another kind`,
      { details: { file: this.#file, key, got } },
    );
  }
}

/** The shortest decimal that is the same number in f32: metadata is f32, configs are decimal. */
export function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}
