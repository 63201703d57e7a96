// Philox4x32-10, a counter-based generator: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011, section 3.3. A block of four words is a function of a 128-bit counter and a
// 64-bit key, so that any part of a stream can be computed on its own.

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

/** Four 32-bit words. */
export type Words4 = readonly [number, number, number, number];

/** The block of a counter, lowest word first, under a key. All words are integers from 0 to 2^32 - 1. */
export function philox4x32(counter: Words4, key: readonly [number, number]): Words4 {
  let [x0, x1, x2, x3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, x0);
    const low0 = Math.imul(MULTIPLIER_0, x0);
    const high1 = multiplyHigh(MULTIPLIER_1, x2);
    const low1 = Math.imul(MULTIPLIER_1, x2);
    [x0, x1, x2, x3] = [(high1 ^ x1 ^ k0) >>> 0, low1 >>> 0, (high0 ^ x3 ^ k1) >>> 0, low0 >>> 0];
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  return [x0, x1, x2, x3];
}

/** The upper 32 bits of a 64-bit product, from products of halves. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh] = [a & 0xffff, a >>> 16];
  const [bLow, bHigh] = [b & 0xffff, b >>> 16];
  const cross = Math.imul(aHigh, bLow) >>> 0;
  const other = Math.imul(aLow, bHigh) >>> 0;
  const middle = (Math.imul(aLow, bLow) >>> 16) + (cross & 0xffff) + (other & 0xffff);
  return (Math.imul(aHigh, bHigh) + (cross >>> 16) + (other >>> 16) + (middle >>> 16)) >>> 0;
}
