// IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS and IQ2_XXS: vectors of a grid with signs of their own and a scale for every 16 or 32 of 256 values.
// Where blocks have room for seven of eight signs, the eighth makes their number even, and a value changes its sign for that: the one
// that counts least.
//
// One thing is not as in ggml: where all 32 values of a sub-block of IQ3_S are zeros, ggml leaves out its vectors and signs, and those of
// the sub-blocks behind it end up one place too early, where they are read as something else. Here each keeps its place.
import { writeHalf, type BlockWriter } from './block-writer.ts';
import { clamp, f, nearest } from './f32.ts';
import { fitGrid, type GridFit, type GridSearch } from './fit-grid.ts';
import { gridTable, type GridType } from './grid-table.ts';

/** What tells the types apart. */
interface GridFormat extends GridSearch {
  readonly type: GridType;
  /** Values that share a scale. */
  readonly size: 16 | 32;
  /** The signs of eight values are seven bits. */
  readonly even: boolean;
  /** A weight is importance sqrt(variance + x²), the variance this many times the mean square. */
  readonly variance: number;
  /** Without importance a weight is x², and this part of the variance. */
  readonly floor: number;
  /** The stored scale is this many times the one that was found. */
  readonly factor: number;
}

const IQ3_S: GridFormat = {
  ...{ type: 'iq3_s', size: 32, even: false, variance: 2, floor: 0, factor: f(1.033) },
  ...{ least: 2 ** -149, tries: 9, step: f(0.2), again: 'all of moved' },
};
const IQ3_XXS: GridFormat = {
  ...{ type: 'iq3_xxs', size: 32, even: true, variance: 2, floor: 0, factor: f(1.0125) },
  ...{ least: f(1e-8), tries: 15, step: f(0.2), again: 'moved' },
};
const IQ2_S: GridFormat = {
  ...{ type: 'iq2_s', size: 16, even: false, variance: 2, floor: 0.25, factor: f(0.9875) },
  ...{ least: f(1e-8), tries: 9, step: f(0.1), again: 'moved' },
};
const IQ2_XS: GridFormat = {
  ...{ type: 'iq2_xs', size: 16, even: true, variance: 1, floor: 0, factor: 1 },
  ...{ least: f(1e-15), tries: 9, step: f(0.1), again: 'moved' },
};
const IQ2_XXS: GridFormat = {
  ...{ type: 'iq2_xxs', size: 32, even: true, variance: 1, floor: 0, factor: 1 },
  ...{ least: f(1e-15), tries: 6, step: f(0.1), fitted: true, again: 'all' },
};

/** A sub-block: null for zeros, which have no signs either. */
interface Part {
  readonly fit: GridFit;
  /** A byte for every eight values, a bit for each: 1 for a negative one. */
  readonly signs: readonly number[];
}

/** Weights of 256 values. */
function weigh({ variance, floor }: GridFormat, x: Float32Array, importance?: Float32Array): Float32Array {
  const squares = x.reduce((sum, value) => f(sum + f(value * value)), 0);
  const mean = f(f(variance * squares) / 256);
  return x.map((value, i) => {
    const square = f(value * value);
    return importance ? f(importance[i]! * f(Math.sqrt(f(mean + square)))) : f(f(floor * mean) + square);
  });
}

/** Takes the signs off eight values. */
function splitSigns(even: boolean, x: Float32Array, weights: Float32Array): { left: Float32Array; signs: number } {
  const left = x.map(Math.abs);
  let signs = x.reduce((bits, value, i) => bits | (value < 0 ? 1 << i : 0), 0);
  const negative = x.filter((value) => value < 0).length;
  if (even && negative % 2 === 1) {
    const losses = Array.from(x, (value, i) => f(f(weights[i]! * value) * value));
    const least = losses.reduce((a, b, i) => (b < losses[a]! ? i : a), 0);
    left[least] = -left[least]!;
    signs ^= 1 << least;
  }
  return { left, signs };
}

function fitParts(format: GridFormat, x: Float32Array, importance?: Float32Array): (Part | null)[] {
  const { type, size, even } = format;
  const weights = weigh(format, x, importance);
  return Array.from({ length: 256 / size }, (_, ib) => {
    const left = new Float32Array(size);
    const own = weights.subarray(ib * size, (ib + 1) * size);
    const signs = Array.from({ length: size / 8 }, (_, k) => {
      const from = ib * size + 8 * k;
      const split = splitSigns(even, x.subarray(from, from + 8), own.subarray(8 * k, 8 * k + 8));
      left.set(split.left, 8 * k);
      return split.signs;
    });
    const fit = fitGrid(gridTable(type), format, left, own);
    return fit && { fit, signs: fit.flipped ? signs.map((bits) => bits ^ 255) : signs };
  });
}

/** Writes d and returns the codes of the scales, 4 bits each; null where d is 0. */
function codeScales({ factor }: GridFormat, parts: readonly (Part | null)[], bytes: Uint8Array): number[] | null {
  const scales = parts.map((part) => part?.fit.scale ?? 0);
  const most = scales.reduce((a, b) => (a > b ? a : b), 0);
  if (most === 0) return null;
  const d = f(most / 31);
  writeHalf(bytes, 0, f(d * factor));
  const inverse = f(1 / d);
  return scales.map((scale) => clamp(nearest(f(0.5 * f(f(inverse * scale) - 1))), 0, 15));
}

/** Indices of the vectors, and signs by eight values. */
function gather(type: GridType, parts: readonly (Part | null)[], perPart: number, size: number) {
  const { indexOf } = gridTable(type);
  const indices = parts.flatMap((part) => part?.fit.words.map(indexOf) ?? new Array<number>(perPart).fill(0));
  const signs = parts.flatMap((part) => part?.signs ?? new Array<number>(size / 8).fill(0));
  return { indices, signs };
}

/** Pairs of 4-bit codes, one byte each. */
function writePairs(bytes: Uint8Array, at: number, codes: readonly number[]): void {
  codes.forEach((code, i) => (bytes[at + (i >> 1)]! |= code << (4 * (i & 1))));
}

/** Four times seven signs, and a code in the upper four bits. */
function writeSigns(bytes: Uint8Array, at: number, signs: readonly number[], code: number): void {
  const word = signs.reduce((sum, bits, k) => sum + (bits & 127) * 2 ** (7 * k), code * 2 ** 28);
  for (let k = 0; k < 4; k++) bytes[at + k] = Math.floor(word / 256 ** k);
}

/** IQ3_S. */
export const writeIQ3S: BlockWriter = (x, bytes, importance) => {
  const parts = fitParts(IQ3_S, x, importance);
  const { indices, signs } = gather('iq3_s', parts, 8, 32);
  indices.forEach((index, k) => {
    bytes[2 + k] = index;
    bytes[66 + (k >> 3)]! |= (index >> 8) << (k & 7);
  });
  bytes.set(signs, 74);
  const codes = codeScales(IQ3_S, parts, bytes);
  if (codes) writePairs(bytes, 106, codes);
};

/** IQ3_XXS. */
export const writeIQ3XXS: BlockWriter = (x, bytes, importance) => {
  const parts = fitParts(IQ3_XXS, x, importance);
  const codes = codeScales(IQ3_XXS, parts, bytes);
  if (!codes) return;
  const { indices, signs } = gather('iq3_xxs', parts, 8, 32);
  bytes.set(indices, 2);
  codes.forEach((code, ib) => writeSigns(bytes, 66 + 4 * ib, signs.slice(4 * ib, 4 * ib + 4), code));
};

/** IQ2_S. */
export const writeIQ2S: BlockWriter = (x, bytes, importance) => {
  const parts = fitParts(IQ2_S, x, importance);
  const { indices, signs } = gather('iq2_s', parts, 2, 16);
  indices.forEach((index, k) => {
    bytes[2 + k] = index;
    bytes[66 + (k >> 2)]! |= (index >> 8) << (2 * (k & 3));
  });
  bytes.set(signs, 34);
  const codes = codeScales(IQ2_S, parts, bytes);
  if (codes) writePairs(bytes, 74, codes);
};

/** IQ2_XS. */
export const writeIQ2XS: BlockWriter = (x, bytes, importance) => {
  const parts = fitParts(IQ2_XS, x, importance);
  const codes = codeScales(IQ2_XS, parts, bytes);
  if (!codes) return;
  const { indices, signs } = gather('iq2_xs', parts, 2, 16);
  indices.forEach((index, k) => {
    const word = index | ((signs[k]! & 127) << 9);
    bytes[2 + 2 * k] = word;
    bytes[3 + 2 * k] = word >> 8;
  });
  writePairs(bytes, 66, codes);
};

/** IQ2_XXS. */
export const writeIQ2XXS: BlockWriter = (x, bytes, importance) => {
  const parts = fitParts(IQ2_XXS, x, importance);
  const codes = codeScales(IQ2_XXS, parts, bytes);
  if (!codes) return;
  const { indices, signs } = gather('iq2_xxs', parts, 4, 32);
  codes.forEach((code, ib) => {
    bytes.set(indices.slice(4 * ib, 4 * ib + 4), 2 + 8 * ib);
    writeSigns(bytes, 6 + 8 * ib, signs.slice(4 * ib, 4 * ib + 4), code);
  });
};
