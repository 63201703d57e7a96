// A grid's table as the kernels read it (tensor-core/assembly/ggml-grid-search.ts): i32 by word, then lists of vectors.
//
// The entry of a vector of the grid is its index with the highest bit set. That of a point beside it has the number of groups in its
// lowest 8 bits and above them where they begin, in units of 16 bytes. A group is four vectors, the last one filled up with the list's
// first: for IQ3 four bytes 2 q + 1 of each, 16 bytes; otherwise four bytes 4 q of each, then the other four of each, 32 bytes.
import type { GgmlWritableType } from './ggml-types.ts';
import { digitsOf, gridOwner, gridTable, isGridType, type GridTable, type GridType } from './grid-table.ts';

const known = new Map<GridType, Uint8Array>();

/**
 * The table of a type's grid for the kernel `ggmlQuantizeRows`, made when first asked for: 0.1 to 2.9 MB. Do not change it.
 *
 * @returns undefined for types that have none.
 */
export function ggmlGridBytes(type: GgmlWritableType): Uint8Array | undefined {
  if (!isGridType(type)) return undefined;
  const owner = gridOwner(type);
  const bytes = known.get(owner) ?? makeBytes(gridTable(owner));
  known.set(owner, bytes);
  return bytes;
}

/** Words of digits that a point can have, in order. */
function points({ length, bits, highest }: GridTable): number[] {
  let words = [0];
  for (let i = 0; i < length; i++) {
    words = Array.from({ length: highest + 1 }, (_, digit) => words.map((word) => word | (digit << (bits * i)))).flat();
  }
  return words;
}

function makeBytes(table: GridTable): Uint8Array {
  const { length, words, indexOf, nearest } = table;
  const all = points(table);
  const entries = Math.ceil((all.at(-1)! + 1) / 4) * 4;
  const beside = all.filter((word) => indexOf(word) < 0);
  const lists = beside.map((word) => nearest(word));
  const groupBytes = 4 * length;
  const groups = lists.reduce((sum, list) => sum + Math.ceil(list.length / 4), 0);
  const bytes = new Uint8Array(4 * entries + groups * groupBytes);
  const entry = new Int32Array(bytes.buffer, 0, entries);
  words.forEach((word, index) => (entry[word] = index | -0x80000000));
  const coded = Array.from(words, (word) =>
    digitsOf(table, word).map((digit) => (length === 4 ? 2 * digit + 1 : 4 * digit)),
  );
  let at = 4 * entries;
  lists.forEach((list, i) => {
    const count = Math.ceil(list.length / 4);
    entry[beside[i]!] = ((at / 16) << 8) | count;
    for (let place = 0; place < 4 * count; place++) {
      const digits = coded[list[place < list.length ? place : 0]!]!;
      const group = at + (place >> 2) * groupBytes + 4 * (place & 3);
      for (let k = 0; k < length; k++) bytes[group + (k >> 2) * 16 + (k & 3)] = digits[k]!;
    }
    at += count * groupBytes;
  });
  return bytes;
}
