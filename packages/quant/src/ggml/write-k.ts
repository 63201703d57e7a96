// The k-quants: 256 values in a block, sub-blocks of 16 or 32 with scales (and offsets) that are coded themselves. After scales
// are coded, values are rounded once more against what will be restored.
import { decodeHalf } from './half.ts';
import { writeHalf, type BlockWriter } from './block-writer.ts';
import { clamp, f, nearest, ZERO_BLOCK } from './f32.ts';
import { fitAffine, fitPositive, type AffineSearch } from './fit-affine.ts';
import { fitByCoordinates, fitSymmetric } from './fit-symmetric.ts';

const IMPORTANCE_SEARCH: AffineSearch = { first: -0.9, delta: 0.05, steps: 36 };

const sumOf = (values: Float32Array): number => values.reduce((sum, value) => f(sum + value), 0);
const squares = (x: Float32Array): number => x.reduce((sum, value) => f(sum + f(value * value)), 0);

/** importance sqrt(variance + x²). */
function weigh(x: Float32Array, importance: Float32Array, variance: number): Float32Array {
  return importance.map((weight, i) => f(weight * f(Math.sqrt(f(variance + f(x[i]! * x[i]!))))));
}

/** Sub-blocks with scale and offset as fitted, and codes. */
interface AffineParts {
  readonly scales: Float32Array;
  readonly offsets: Float32Array;
  readonly codes: Uint8Array;
  /** Sum of the weights of each sub-block. */
  readonly weights: Float32Array;
}

function fitParts(
  n: number,
  size: number,
  x: Float32Array,
  weightsOf: (part: Float32Array, first: number) => Float32Array,
  search: AffineSearch,
): AffineParts {
  const count = x.length / size;
  const parts = { scales: new Float32Array(count), offsets: new Float32Array(count), weights: new Float32Array(count) };
  const codes = new Uint8Array(x.length);
  for (let j = 0; j < count; j++) {
    const part = x.subarray(j * size, (j + 1) * size);
    const weights = weightsOf(part, j * size);
    const fit = fitAffine(n, part, weights, codes.subarray(j * size, (j + 1) * size), search);
    parts.scales[j] = fit.scale;
    parts.offsets[j] = fit.offset;
    parts.weights[j] = sumOf(weights);
  }
  return { ...parts, codes };
}

/** Rounds the values of sub-blocks again, for the scale and offset that were stored; those with scale 0 keep their codes. */
function roundAgain(
  n: number,
  size: number,
  x: Float32Array,
  codes: Uint8Array,
  stored: (j: number) => readonly [scale: number, offset: number],
): void {
  for (let j = 0; j * size < x.length; j++) {
    const [scale, offset] = stored(j);
    if (!scale) continue;
    for (let i = j * size; i < (j + 1) * size; i++) codes[i] = clamp(nearest(f(f(x[i]! + offset) / scale)), 0, n);
  }
}

/** Two-bit codes: bytes hold codes 32 apart. */
function writePairs(bytes: Uint8Array, at: number, codes: Uint8Array): void {
  for (let half = 0; half < 2; half++) {
    for (let l = 0; l < 32; l++) {
      const from = half * 128 + l;
      bytes[at + half * 32 + l] =
        (codes[from]! & 3) |
        ((codes[from + 32]! & 3) << 2) |
        ((codes[from + 64]! & 3) << 4) |
        ((codes[from + 96]! & 3) << 6);
    }
  }
}

/** Q2_K. */
export const writeQ2K: BlockWriter = (x, bytes, importance) => {
  const variance = f(squares(x) / 256);
  const { scales, offsets, codes, weights } = fitParts(
    3,
    16,
    x,
    (part, first) => (importance ? weigh(part, importance.subarray(first, first + 16), variance) : part.map(Math.abs)),
    importance ? IMPORTANCE_SEARCH : { first: -0.5, delta: 0.1, steps: 15, magnitudes: true },
  );
  const scaleCodes = new Uint8Array(16);
  const offsetCodes = new Uint8Array(16);
  const [d, least] = importance
    ? [fitPositive(15, scales, scaleCodes, weights), fitPositive(15, offsets, offsetCodes, weights)]
    : [codeBySteps(15, scales, scaleCodes), codeBySteps(15, offsets, offsetCodes)];
  writeHalf(bytes, 80, d);
  writeHalf(bytes, 82, least);
  for (let j = 0; j < 16; j++) bytes[j] = scaleCodes[j]! | (offsetCodes[j]! << 4);
  const [storedScale, storedOffset] = [decodeHalf(bytes, 80), decodeHalf(bytes, 82)];
  roundAgain(3, 16, x, codes, (j) => [f(storedScale * (bytes[j]! & 15)), f(storedOffset * (bytes[j]! >> 4))]);
  writePairs(bytes, 16, codes);
};

/** Codes values from 0 to the largest in n steps; returns the step. */
function codeBySteps(n: number, values: Float32Array, codes: Uint8Array): number {
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const inverse = most > 0 ? f(n / most) : 0;
  values.forEach((value, j) => (codes[j] = Math.min(n, nearest(f(inverse * value)))));
  return f(most / n);
}

/** Q3_K. */
export const writeQ3K: BlockWriter = (x, bytes, importance) => {
  const codes = new Uint8Array(256);
  const scales = new Float32Array(16);
  const sums = new Float32Array(16);
  const variance = f(f(2 * squares(x)) / 256);
  for (let j = 0; j < 16; j++) {
    const part = x.subarray(16 * j, 16 * j + 16);
    const partCodes = codes.subarray(16 * j, 16 * j + 16);
    if (importance === undefined) {
      scales[j] = fitByCoordinates(4, part, partCodes);
      continue;
    }
    const weights = weigh(part, importance.subarray(16 * j, 16 * j + 16), variance);
    sums[j] = sumOf(weights);
    scales[j] = fitSymmetric(4, part, partCodes, weights);
  }
  const scaleCodes = new Uint8Array(16);
  writeHalf(bytes, 108, importance ? fitSymmetric(32, scales, scaleCodes, sums) : codeFromExtreme(scales, scaleCodes));
  for (let j = 0; j < 16; j++) {
    bytes[96 + (j & 7)]! |= (scaleCodes[j]! & 15) << (j < 8 ? 0 : 4);
    bytes[96 + 8 + (j & 3)]! |= (scaleCodes[j]! >> 4) << (2 * (j >> 2));
  }
  const d = decodeHalf(bytes, 108);
  for (let j = 0; j < 16; j++) {
    const scale = f(d * (scaleCodes[j]! - 32));
    if (!scale) continue;
    for (let i = 16 * j; i < 16 * j + 16; i++) codes[i] = clamp(nearest(f(x[i]! / scale)), -4, 3) + 4;
  }
  codes.forEach((code, i) => (bytes[i & 31]! |= (code >> 2) << (i >> 5)));
  writePairs(bytes, 32, codes);
};

/** Codes scales from -32 to 31, the one of largest magnitude at -32, plus 32; returns the step. */
function codeFromExtreme(scales: Float32Array, codes: Uint8Array): number {
  let largest = 0;
  for (const scale of scales) if (Math.abs(scale) > Math.abs(largest)) largest = scale;
  // ggml leaves the bits at zero then, which stands for -32.
  if (!largest) return 0;
  const inverse = f(-32 / largest);
  scales.forEach((scale, j) => (codes[j] = clamp(nearest(f(inverse * scale)), -32, 31) + 32));
  return f(1 / inverse);
}

/** Six-bit scales and offsets of eight sub-blocks in 12 bytes. */
function writeSixBits(bytes: Uint8Array, at: number, scales: Uint8Array, offsets: Uint8Array): void {
  for (let j = 0; j < 4; j++) {
    bytes[at + j] = scales[j]! | ((scales[j + 4]! >> 4) << 6);
    bytes[at + j + 4] = offsets[j]! | ((offsets[j + 4]! >> 4) << 6);
    bytes[at + j + 8] = (scales[j + 4]! & 15) | ((offsets[j + 4]! & 15) << 4);
  }
}

/** What Q4_K and Q5_K share: d, dmin and 12 bytes of scales at the start; returns the codes. */
function writeAffine32(
  n: number,
  search: AffineSearch,
  x: Float32Array,
  bytes: Uint8Array,
  importance?: Float32Array,
): Uint8Array {
  const variance = f(f(2 * squares(x)) / 256);
  const { scales, offsets, codes, weights } = fitParts(
    n,
    32,
    x,
    (part, first) => {
      if (importance) return weigh(part, importance.subarray(first, first + 32), variance);
      const mean = f(Math.sqrt(f(squares(part) / 32)));
      return part.map((value) => f(mean + Math.abs(value)));
    },
    importance ? IMPORTANCE_SEARCH : search,
  );
  const scaleCodes = new Uint8Array(8);
  const offsetCodes = new Uint8Array(8);
  const [d, least] = importance
    ? [fitPositive(63, scales, scaleCodes, weights), fitPositive(63, offsets, offsetCodes, weights)]
    : [codeBySteps(63, scales, scaleCodes), codeBySteps(63, offsets, offsetCodes)];
  writeHalf(bytes, 0, d);
  writeHalf(bytes, 2, least);
  writeSixBits(bytes, 4, scaleCodes, offsetCodes);
  const [storedScale, storedOffset] = [decodeHalf(bytes, 0), decodeHalf(bytes, 2)];
  roundAgain(n, 32, x, codes, (j) => [f(storedScale * scaleCodes[j]!), f(storedOffset * offsetCodes[j]!)]);
  return codes;
}

/** Nibbles of 32 codes and the 32 after them share bytes. */
function writeNibbles(bytes: Uint8Array, at: number, codes: Uint8Array): void {
  for (let pair = 0; pair < 4; pair++) {
    for (let l = 0; l < 32; l++) {
      bytes[at + pair * 32 + l] = (codes[pair * 64 + l]! & 15) | ((codes[pair * 64 + 32 + l]! & 15) << 4);
    }
  }
}

/** Q4_K. */
export const writeQ4K: BlockWriter = (x, bytes, importance) => {
  writeNibbles(bytes, 16, writeAffine32(15, { first: -1, delta: 0.1, steps: 20 }, x, bytes, importance));
};

/** Q5_K. */
export const writeQ5K: BlockWriter = (x, bytes, importance) => {
  const codes = writeAffine32(31, { first: -0.5, delta: 0.1, steps: 15 }, x, bytes, importance);
  codes.forEach((code, i) => (bytes[16 + (i & 31)]! |= (code >> 4) << (i >> 5)));
  writeNibbles(bytes, 48, codes);
};

/** Q6_K. */
export const writeQ6K: BlockWriter = (x, bytes, importance) => {
  const codes = new Uint8Array(256);
  const scales = new Float32Array(16);
  let largest = 0;
  for (let j = 0; j < 16; j++) {
    const weights = importance?.subarray(16 * j, 16 * j + 16);
    scales[j] = fitSymmetric(32, x.subarray(16 * j, 16 * j + 16), codes.subarray(16 * j, 16 * j + 16), weights);
    if (Math.abs(scales[j]!) > Math.abs(largest)) largest = scales[j]!;
  }
  if (Math.abs(largest) < ZERO_BLOCK) return;
  const inverse = f(-128 / largest);
  writeHalf(bytes, 208, f(1 / inverse));
  const d = decodeHalf(bytes, 208);
  for (let j = 0; j < 16; j++) {
    const code = Math.min(127, nearest(f(inverse * scales[j]!)));
    bytes[192 + j] = code;
    const scale = f(d * code);
    if (!scale) continue;
    for (let i = 16 * j; i < 16 * j + 16; i++) codes[i] = clamp(nearest(f(x[i]! / scale)), -32, 31) + 32;
  }
  for (let half = 0; half < 2; half++) {
    for (let l = 0; l < 32; l++) {
      const quarter = (k: number): number => codes[half * 128 + k * 32 + l]!;
      bytes[half * 64 + l] = (quarter(0) & 15) | ((quarter(2) & 15) << 4);
      bytes[half * 64 + 32 + l] = (quarter(1) & 15) | ((quarter(3) & 15) << 4);
      bytes[128 + half * 32 + l] =
        (quarter(0) >> 4) | ((quarter(1) >> 4) << 2) | ((quarter(2) >> 4) << 4) | ((quarter(3) >> 4) << 6);
    }
  }
};
