// Matrices of words that lie with the inputs along the rows, as GPTQ and AWQ store them: the output channels of a weight are
// columns there.
import type { StoredTensor } from '../safetensors/safetensors-file.ts';

/** Reads at the same time, of a part of the columns. */
const READS = 64;

/**
 * Columns `start` to `end` of a stored matrix of 32-bit words [rows, columns], turned: [end - start, rows]. Where fewer than
 * half of the columns are asked for, only these are read.
 */
export async function readTurned(tensor: StoredTensor, start: number, end: number): Promise<Int32Array> {
  const [rows, columns] = tensor.shape as readonly [number, number];
  const count = end - start;
  if (2 * count >= columns) {
    const words = wordsOf(await tensor.source.read(0, tensor.byteLength));
    return turn(words, rows, columns, start, end);
  }
  const words = new Int32Array(rows * count);
  const bytes = new Uint8Array(words.buffer);
  for (let first = 0; first < rows; first += READS) {
    const last = Math.min(rows, first + READS);
    const reads = Array.from({ length: last - first }, (_, i) => {
      const row = first + i;
      return tensor.source.readInto(
        4 * (row * columns + start),
        bytes.subarray(4 * row * count, 4 * (row + 1) * count),
      );
    });
    await Promise.all(reads);
  }
  return turn(words, rows, count, 0, count);
}

/** Little-endian words, copied where the bytes do not lie at a multiple of 4. */
export function wordsOf(bytes: Uint8Array): Int32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Int32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
}

/** Rows and columns of a tile that is turned at once. */
const TILE = 16;

/** Columns `start` to `end` of a matrix [rows, columns] as rows: [end - start, rows]. */
export function turn<T extends Int8Array | Uint8Array | Int32Array | Float32Array>(
  source: T,
  rows: number,
  columns: number,
  start = 0,
  end = columns,
): T {
  const target = new (source.constructor as new (length: number) => T)((end - start) * rows);
  for (let r0 = 0; r0 < rows; r0 += TILE) {
    const r1 = Math.min(rows, r0 + TILE);
    for (let c0 = start; c0 < end; c0 += TILE) {
      const c1 = Math.min(end, c0 + TILE);
      for (let c = c0; c < c1; c += 1) {
        const at = (c - start) * rows;
        for (let r = r0; r < r1; r += 1) target[at + r] = source[r * columns + c]!;
      }
    }
  }
  return target;
}
