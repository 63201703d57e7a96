// The order of eight 4-bit codes in a word of AWQ's GEMM layout: bits 4 i hold column `LANES[i]` of eight.

/** Column of each nibble, the lowest first. */
const LANES: readonly number[] = Object.freeze([0, 2, 4, 6, 1, 3, 5, 7]);

/** Words [rows, columns / 8] of codes from -8 to 7, [rows, columns]; `columns` is a multiple of 8. */
export function packLanes(codes: Int8Array): Int32Array {
  const words = new Int32Array(codes.length / 8);
  for (let word = 0; word < words.length; word += 1) {
    let bits = 0;
    for (let lane = 0; lane < 8; lane += 1) bits |= ((codes[8 * word + LANES[lane]!]! + 8) & 15) << (4 * lane);
    words[word] = bits;
  }
  return words;
}

/** The codes of {@link packLanes}. */
export function unpackLanes(words: Int32Array): Int8Array {
  const codes = new Int8Array(8 * words.length);
  for (let word = 0; word < words.length; word += 1) {
    const bits = words[word]!;
    for (let lane = 0; lane < 8; lane += 1) codes[8 * word + LANES[lane]!] = ((bits >>> (4 * lane)) & 15) - 8;
  }
  return codes;
}
