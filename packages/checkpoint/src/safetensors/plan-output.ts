// The layout of a safetensors checkpoint before any byte of data exists: which file each tensor goes to, at which
// offset, and the exact bytes of every header and of the index. It only counts, so that a plan can show the output's
// size and worker threads can write at known places in any order.
//
// Within a file, tensors are sorted as the reference writer sorts them (wide dtypes first, then by name), headers are
// padded with spaces to a multiple of 8: the same tensors give the same bytes as the reference.
import { PithError } from '@pith/tensor-core';
import { encodeHeader, type HeaderEntry } from './encode-header.ts';
import { MAX_HEADER_BYTES, MAX_NAME_LENGTH, MAX_RANK } from './limits.ts';
import { storedBits, writingOrder, type StoredDType } from './stored-dtype.ts';
import { tensorByteLength } from './tensor-bytes.ts';

/** A tensor that is going to be written. */
export interface OutputTensor {
  /** Name in the file; unique in the checkpoint. */
  readonly name: string;
  /** How its values are stored. */
  readonly dtype: StoredDType;
  /** Outermost axis first; `[]` is a scalar. */
  readonly shape: readonly number[];
}

/** How tensors are laid out in files. */
export interface PlanOutputOptions {
  /**
   * Most bytes of tensor data in one file; a tensor that is larger gets a file of its own. Left out: one file,
   * `model.safetensors`. Tensors fill the shards in the order in which they are given.
   */
  readonly shardBytes?: number;
  /** Text kept in each header; `{ format: 'pt' }` when left out, which transformers asks for. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** First part of the file names; `model` when left out. */
  readonly baseName?: string;
}

/** Where a tensor lies in the output. */
export interface OutputPlace extends OutputTensor {
  /** Name of the file, without a directory. */
  readonly file: string;
  /** Byte offset of the first byte, counted from the start of the file. */
  readonly offset: number;
  /** Bytes of the tensor. */
  readonly byteLength: number;
}

/** A file of the output. */
export interface OutputFile {
  /** Name, without a directory. */
  readonly name: string;
  /** The first bytes of the file: header length and header. */
  readonly head: Uint8Array;
  /** Bytes of the whole file. */
  readonly byteLength: number;
  /** Its tensors in the order of their offsets. */
  readonly tensors: readonly OutputPlace[];
}

/** The index of a sharded output. */
export interface OutputIndex {
  /** File name. */
  readonly name: string;
  /** The whole content. */
  readonly text: string;
}

/** The complete layout of an output. */
export interface OutputLayout {
  /** The safetensors files, in order. */
  readonly files: readonly OutputFile[];
  /** The index, where there is more than one file. */
  readonly index?: OutputIndex;
  /** Place of each tensor by name. */
  readonly places: ReadonlyMap<string, OutputPlace>;
  /** Bytes of tensor data: `metadata.total_size` of the index. */
  readonly dataBytes: number;
  /** Bytes of all files, headers and index included. */
  readonly totalBytes: number;
}

/**
 * Computes the layout of a checkpoint; writes nothing.
 *
 * @throws PithError `OUTPUT_TENSOR_INVALID` (a name that is empty, taken or too long, a bad shape; all offenders at
 * once), `OUTPUT_OPTION_INVALID`, `SAFETENSORS_HEADER_TOO_LARGE`.
 */
export function planOutput(tensors: readonly OutputTensor[], options: PlanOutputOptions = {}): OutputLayout {
  const { metadata = { format: 'pt' }, baseName = 'model' } = options;
  const shardBytes = options.shardBytes ?? Number.POSITIVE_INFINITY;
  checkOptions(shardBytes, baseName);
  const sized = checkTensors(tensors);
  const shards = cutIntoShards(sized, shardBytes);
  const files = shards.map((shard, index) => layOutFile(fileName(baseName, index, shards.length), shard, metadata));
  const places = new Map<string, OutputPlace>();
  for (const file of files) for (const place of file.tensors) places.set(place.name, place);
  const dataBytes = sized.reduce((sum, tensor) => sum + tensor.byteLength, 0);
  const fileBytes = files.reduce((sum, file) => sum + file.byteLength, 0);
  if (files.length === 1) return { files, places, dataBytes, totalBytes: fileBytes };
  const index = { name: `${baseName}.safetensors.index.json`, text: indexText(places, dataBytes) };
  const indexBytes = new TextEncoder().encode(index.text).length;
  return { files, index, places, dataBytes, totalBytes: fileBytes + indexBytes };
}

type Sized = OutputTensor & { readonly byteLength: number };

function checkOptions(shardBytes: number, baseName: string): void {
  if (!(shardBytes > 0) || (Number.isFinite(shardBytes) && !Number.isSafeInteger(shardBytes))) {
    throw new PithError(
      'OUTPUT_OPTION_INVALID',
      `plan output: shardBytes must be a whole number above 0, got ${shardBytes}; leave it out to write one file`,
      { details: { option: 'shardBytes', value: shardBytes } },
    );
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(baseName)) {
    throw new PithError(
      'OUTPUT_OPTION_INVALID',
      `plan output: baseName must be 1 to 100 letters, digits, ".", "_" or "-", got ${JSON.stringify(baseName)}`,
      { details: { option: 'baseName', value: baseName } },
    );
  }
}

function checkTensors(tensors: readonly OutputTensor[]): Sized[] {
  const problems: string[] = [];
  const seen = new Set<string>();
  const sized: Sized[] = [];
  for (const { name, dtype, shape } of tensors) {
    const label = (): string => JSON.stringify(name);
    if (name === '' || name === '__metadata__' || name.length > MAX_NAME_LENGTH) {
      problems.push(`${label()}: not a usable name (1 to ${MAX_NAME_LENGTH} characters, not "__metadata__")`);
    }
    if (seen.has(name)) problems.push(`${label()}: the name is taken by another tensor`);
    seen.add(name);
    if (storedBits(dtype) === undefined) {
      problems.push(`${label()}: safetensors has no dtype ${JSON.stringify(dtype)}`);
      continue;
    }
    const byteLength = shape.length <= MAX_RANK ? tensorByteLength(dtype, shape) : undefined;
    if (byteLength === undefined) {
      problems.push(`${label()}: shape [${shape.join(', ')}] of ${dtype} is not a whole number of bytes below 2^53`);
    } else sized.push({ name, dtype, shape: [...shape], byteLength });
  }
  if (problems.length > 0) {
    throw new PithError(
      'OUTPUT_TENSOR_INVALID',
      `plan output: ${problems.length} tensors cannot be stored: ${problems.slice(0, 20).join('; ')}; correct the list`,
      { details: { problems } },
    );
  }
  return sized;
}

function cutIntoShards(tensors: readonly Sized[], shardBytes: number): Sized[][] {
  let shard: Sized[] = [];
  const shards = [shard];
  let used = 0;
  for (const tensor of tensors) {
    if (shard.length > 0 && used + tensor.byteLength > shardBytes) {
      shard = [];
      shards.push(shard);
      used = 0;
    }
    shard.push(tensor);
    used += tensor.byteLength;
  }
  return shards;
}

function fileName(baseName: string, index: number, count: number): string {
  if (count === 1) return `${baseName}.safetensors`;
  const five = (n: number) => String(n).padStart(5, '0');
  return `${baseName}-${five(index + 1)}-of-${five(count)}.safetensors`;
}

function layOutFile(name: string, tensors: readonly Sized[], metadata: Readonly<Record<string, string>>): OutputFile {
  const sorted = [...tensors].sort(
    (a, b) => writingOrder(b.dtype) - writingOrder(a.dtype) || compareUtf8(a.name, b.name),
  );
  const entries: HeaderEntry[] = [];
  let end = 0;
  for (const { name: tensor, dtype, shape, byteLength } of sorted) {
    entries.push({ name: tensor, dtype, shape, start: end, end: end + byteLength });
    end += byteLength;
  }
  // At least the names themselves: a header far too long is refused before it is made.
  const least = entries.reduce((sum, entry) => sum + entry.name.length, 0);
  if (least > MAX_HEADER_BYTES) throw headerTooLarge(name, least);
  const head = encodeHeader(entries, metadata);
  if (head.length - 8 > MAX_HEADER_BYTES) throw headerTooLarge(name, head.length - 8);
  const places = sorted.map((tensor, i): OutputPlace => ({
    ...tensor,
    file: name,
    offset: head.length + entries[i]!.start,
  }));
  return { name, head, byteLength: head.length + end, tensors: places };
}

function headerTooLarge(file: string, headerBytes: number): PithError {
  return new PithError(
    'SAFETENSORS_HEADER_TOO_LARGE',
    `plan output: the header of ${file} would have ${headerBytes} bytes or more, at most ${MAX_HEADER_BYTES} are read ` +
      `by any implementation; write smaller shards (shardBytes)`,
    { details: { file, headerBytes, limit: MAX_HEADER_BYTES } },
  );
}

/** Order of the UTF-8 bytes, which is the order of the code points; JavaScript's own order is that of UTF-16 units. */
function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return codePointOrder(left) - codePointOrder(right);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above all others: they move behind the units from 0xe000 to 0xffff. */
function codePointOrder(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}

/** The index as the reference writes it: two spaces, names in order, a line break at the end. */
function indexText(places: ReadonlyMap<string, OutputPlace>, dataBytes: number): string {
  const names = [...places.keys()].sort(compareUtf8);
  const lines = names.map((name) => `    ${JSON.stringify(name)}: ${JSON.stringify(places.get(name)!.file)}`);
  return `{\n  "metadata": {\n    "total_size": ${dataBytes}\n  },\n  "weight_map": {\n${lines.join(',\n')}\n  }\n}\n`;
}
