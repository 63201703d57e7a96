// Blocks of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, MXFP4. Where importance is given, a scale is searched for; without it the value
// of largest magnitude (or the range) decides. Q8_0 and MXFP4 know no importance.
import { writeHalf, type BlockWriter, type RowContext } from './block-writer.ts';
import { f, extreme, roundAway } from './f32.ts';
import { fitAffine } from './fit-affine.ts';
import { fitSymmetric } from './fit-symmetric.ts';

const AFFINE_SEARCH = { first: -0.9, delta: 0.05, steps: 36 };

/** Importance times the magnitude that a value has in its row. */
export function weigh(x: Float32Array, importance: Float32Array, meanSquare: number): Float32Array {
  return importance.map((weight, i) => f(weight * f(Math.sqrt(f(meanSquare + f(x[i]! * x[i]!))))));
}

/** Nibbles: the first half of the block in the low ones. */
function writeNibbles(bytes: Uint8Array, at: number, codes: Uint8Array): void {
  for (let j = 0; j < 16; j++) bytes[at + j] = (codes[j]! & 15) | ((codes[j + 16]! & 15) << 4);
}

/** The fifth bits of 32 codes as a word. */
function writeFifthBits(bytes: Uint8Array, at: number, codes: Uint8Array): void {
  codes.forEach((code, j) => (bytes[at + (j >> 3)]! |= (code >> 4) << (j & 7)));
}

/** Codes without offset: `value = (code - n) d`. */
function symmetric(n: number, x: Float32Array, importance: Float32Array | undefined, row: RowContext) {
  const codes = new Uint8Array(x.length);
  if (importance) {
    const d = fitSymmetric(n, x, codes, weigh(x, importance, row.meanSquare));
    return { d, codes };
  }
  const d = f(extreme(x) / -n);
  const inverse = d ? f(1 / d) : 0;
  x.forEach((value, j) => (codes[j] = Math.min(2 * n - 1, Math.trunc(f(f(value * inverse) + f(n + 0.5))))));
  return { d, codes };
}

/** Codes with offset: `value = code d + m`. */
function affine(n: number, x: Float32Array, importance: Float32Array | undefined, row: RowContext) {
  const codes = new Uint8Array(x.length);
  if (importance) {
    const { scale, offset } = fitAffine(n, x, weigh(x, importance, row.meanSquare), codes, AFFINE_SEARCH);
    return { d: scale, m: -offset, codes };
  }
  // The first of several zeros, as C compares: their signs are stored.
  const m = x.reduce((a, b) => (b < a ? b : a));
  const d = f(f(x.reduce((a, b) => Math.max(a, b)) - m) / n);
  const inverse = d ? f(1 / d) : 0;
  x.forEach((value, j) => (codes[j] = Math.min(n, Math.trunc(f(f(f(value - m) * inverse) + 0.5)))));
  return { d, m, codes };
}

/** Q4_0. */
export const writeQ4_0: BlockWriter = (x, bytes, importance, row) => {
  const { d, codes } = symmetric(8, x, importance, row);
  writeHalf(bytes, 0, d);
  writeNibbles(bytes, 2, codes);
};

/** Q4_1. */
export const writeQ4_1: BlockWriter = (x, bytes, importance, row) => {
  const { d, m, codes } = affine(15, x, importance, row);
  writeHalf(bytes, 0, d);
  writeHalf(bytes, 2, m);
  writeNibbles(bytes, 4, codes);
};

/** Q5_0. */
export const writeQ5_0: BlockWriter = (x, bytes, importance, row) => {
  const { d, codes } = symmetric(16, x, importance, row);
  writeHalf(bytes, 0, d);
  writeFifthBits(bytes, 2, codes);
  writeNibbles(bytes, 6, codes);
};

/** Q5_1. */
export const writeQ5_1: BlockWriter = (x, bytes, importance, row) => {
  const { d, m, codes } = affine(31, x, importance, row);
  writeHalf(bytes, 0, d);
  writeHalf(bytes, 2, m);
  writeFifthBits(bytes, 4, codes);
  writeNibbles(bytes, 8, codes);
};

/** Q8_0. */
export const writeQ8_0: BlockWriter = (x, bytes) => {
  const d = f(Math.abs(extreme(x)) / 127);
  const inverse = d ? f(1 / d) : 0;
  writeHalf(bytes, 0, d);
  x.forEach((value, j) => (bytes[2 + j] = roundAway(f(value * inverse))));
};

/** e2m1 times two, by code; the nearest is searched in this order, so that ties go to the lower code. */
const E2M1_DOUBLED = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/** MXFP4. */
export const writeMXFP4: BlockWriter = (x, bytes) => {
  const largest = Math.abs(extreme(x));
  const exponent = largest > 0 ? Math.floor(f(Math.log2(largest))) - 2 + 127 : 0;
  bytes[0] = exponent;
  const d = f(2 ** (bytes[0] - 128));
  const code = (value: number): number => {
    let best = 0;
    let least = Math.abs(f(0 - value));
    for (let i = 1; i < 16; i++) {
      const error = Math.abs(f(f(E2M1_DOUBLED[i]! * d) - value));
      if (error < least) {
        best = i;
        least = error;
      }
    }
    return best;
  };
  for (let j = 0; j < 16; j++) bytes[1 + j] = code(x[j]!) | (code(x[j + 16]!) << 4);
};
