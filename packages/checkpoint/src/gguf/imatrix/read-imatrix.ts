// Reads llama.cpp's importance matrices. The newer form is a GGUF file: `<name>.in_sum2` holds sums of squares, f32 [experts,
// columns], and `<name>.counts` how many tokens each expert saw, f32 [experts, 1]. Means of inputs (`<name>.in_sum`) and other
// tensors are left alone, as llama-quantize leaves them.
import { toF32, type ByteSource } from '@pith/tensor-core';
import type { GgufFile, GgufTensor } from '../gguf-file.ts';
import { openGguf } from '../open-gguf.ts';
import {
  imatrixFault,
  MAX_IMATRIX_BYTES,
  MAX_IMATRIX_EXPERTS,
  requireImatrixName,
  requireSquares,
  type Imatrix,
  type ImatrixEntry,
} from './imatrix.ts';
import { parseLegacyImatrix } from './parse-legacy.ts';

const SUMS = '.in_sum2';
const COUNTS = '.counts';

/**
 * Reads an importance matrix in either form.
 *
 * @param file label of the file in errors.
 * @throws PithError `IMATRIX_TOO_LARGE`, those of `openGguf`; of the newer form `IMATRIX_NOT_ONE`, `IMATRIX_PAIR_MISSING`,
 * `IMATRIX_TYPE_INVALID`, `IMATRIX_SHAPE_INVALID`, `IMATRIX_NAME_INVALID`, `IMATRIX_COUNT_INVALID`, `IMATRIX_VALUE_INVALID`;
 * of the older `IMATRIX_TRUNCATED`, `IMATRIX_COUNT_INVALID`, `IMATRIX_NAME_INVALID`, `IMATRIX_NOT_UTF8`,
 * `IMATRIX_DUPLICATE`, `IMATRIX_VALUE_INVALID`, `IMATRIX_TRAILING_BYTES`.
 */
export async function readImatrix(source: ByteSource, file: string): Promise<Imatrix> {
  if (source.byteLength > MAX_IMATRIX_BYTES) {
    throw imatrixFault(file, 'TOO_LARGE', `it may have ${MAX_IMATRIX_BYTES} bytes, it has ${source.byteLength}`, {
      limit: MAX_IMATRIX_BYTES,
      byteLength: source.byteLength,
    });
  }
  const magic = await source.read(0, Math.min(4, source.byteLength));
  // As a count of entries of the older form, these letters are beyond its cap.
  if (String.fromCharCode(...magic) === 'GGUF') return fromGguf(await openGguf(source, file));
  return parseLegacyImatrix(await source.read(0, source.byteLength), file);
}

async function fromGguf({ file, metadata, tensors }: GgufFile): Promise<Imatrix> {
  const kind = metadata.get('general.type');
  if (kind !== undefined && !(kind.type === 'string' && kind.value === 'imatrix')) {
    throw imatrixFault(file, 'NOT_ONE', 'its general.type must be imatrix, it is another GGUF file');
  }
  const entries = new Map<string, ImatrixEntry>();
  for (const [name, sums] of tensors) {
    if (name.endsWith(COUNTS)) {
      const of = name.slice(0, -COUNTS.length);
      if (!tensors.has(of + SUMS)) throw unpaired(file, of, SUMS);
    }
    if (!name.endsWith(SUMS)) continue;
    const tensor = name.slice(0, -SUMS.length);
    requireImatrixName(file, tensor);
    const counts = tensors.get(tensor + COUNTS);
    if (counts === undefined) throw unpaired(file, tensor, COUNTS);
    entries.set(tensor, await means(file, tensor, sums, counts));
  }
  if (entries.size === 0) throw imatrixFault(file, 'NOT_ONE', `it must have tensors that end in ${SUMS}, it has none`);
  const chunks = metadata.get('imatrix.chunk_count');
  const isCount = chunks !== undefined && chunks.type !== 'array' && typeof chunks.value === 'number';
  return { form: 'gguf', entries, chunks: isCount ? (chunks.value as number) : null };
}

function unpaired(file: string, tensor: string, missing: string): Error {
  const shown = JSON.stringify(tensor.slice(0, 80));
  return imatrixFault(
    file,
    'PAIR_MISSING',
    `tensor ${shown}: sums and counts must come together, ${missing} is missing`,
    {
      tensor: tensor.slice(0, 80),
    },
  );
}

async function means(file: string, tensor: string, sums: GgufTensor, counts: GgufTensor): Promise<ImatrixEntry> {
  const wrong = [sums, counts].find(({ type }) => type !== 'f32');
  if (wrong !== undefined) {
    throw imatrixFault(file, 'TYPE_INVALID', `${wrong.name} must be f32, it is ${wrong.type}`, { tensor });
  }
  const length = sums.byteLength / 4;
  const experts = counts.byteLength / 4;
  // A stack of one expert is stored with one axis, as any matrix.
  const rows = sums.shape.slice(0, -1).reduce((a, b) => a * b, 1);
  if (length === 0 || experts === 0 || experts > MAX_IMATRIX_EXPERTS || rows !== experts) {
    throw imatrixFault(
      file,
      'SHAPE_INVALID',
      `tensor ${tensor}: sums [${sums.shape.join(', ')}] must have a row for each of 1 to ${MAX_IMATRIX_EXPERTS} counts, there are ${experts}`,
      { tensor, sums: sums.shape, counts: counts.shape },
    );
  }
  const meanSquares = toF32('f32', await sums.source.read(0, sums.byteLength));
  const seen = toF32('f32', await counts.source.read(0, counts.byteLength));
  requireSquares(file, tensor, meanSquares);
  const columns = length / experts;
  for (let expert = 0; expert < experts; expert++) {
    const count = seen[expert]!;
    if (count !== 0 && !(count >= 1 && count < Infinity)) {
      throw imatrixFault(file, 'COUNT_INVALID', `tensor ${tensor}: counts must be 0 or at least 1, got ${count}`, {
        tensor,
        expert,
      });
    }
    const own = meanSquares.subarray(expert * columns, (expert + 1) * columns);
    // An expert that no token reached: all columns count the same.
    if (count === 0) own.fill(1);
    else for (let at = 0; at < columns; at++) own[at]! /= count;
  }
  return { meanSquares, experts };
}
