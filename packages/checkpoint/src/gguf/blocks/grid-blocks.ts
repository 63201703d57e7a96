// Blocks whose values are vectors of a grid: IQ1, IQ2, IQ3. The grids are tables of the format, which lie with the kernels; here they come as a
// function: word `index` of a type's grid, digits of two bits (three for IQ3), the first in the lowest bits.
import type { GgmlTypeName } from '../ggml-types.ts';
import type { BlockReader } from './block-reader.ts';
import { halfAt } from './half.ts';

const { fround } = Math;

/** Word `index` of the grid of a type. */
export type GridWord = (type: GgmlTypeName, index: number) => number;

const MAGNITUDES_2 = [8, 25, 43] as const;
const MAGNITUDES_3 = [4, 12, 20, 28, 36, 44, 52, 62] as const;

/** Seven signs and the eighth, which makes their number even. */
function evenSigns(seven: number): number {
  let parity = 0;
  for (let bits = seven; bits > 0; bits >>= 1) parity ^= bits & 1;
  return seven | (parity << 7);
}

const word16 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);
const word32 = (bytes: Uint8Array, at: number): number => word16(bytes, at) + word16(bytes, at + 2) * 65_536;

/** Writes eight magnitudes with their signs, times a scale. */
function write8(
  values: Float32Array,
  to: number,
  scale: number,
  signs: number,
  magnitude: (j: number) => number,
): void {
  for (let j = 0; j < 8; j++) {
    const value = fround(scale * magnitude(j));
    values[to + j] = (signs >> j) & 1 ? -value : value;
  }
}

const two =
  (word: number) =>
  (j: number): number =>
    MAGNITUDES_2[((word >> (2 * j)) & 3) as 0 | 1 | 2];

/** d (code + 1/2) / 4. */
const scale2 = (d: number, code: number): number => fround(fround(d * (0.5 + code)) * 0.25);

/** The readers of all grid types. */
export function gridReaders(grid: GridWord) {
  /** d f16; for each 32 values four grid indices of 8 bits, four times seven signs and a scale of 4 bits. */
  const iq2_xxs: BlockReader = (bytes, at, values, to) => {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 32; k++) {
      const from = at + 2 + (k >> 2) * 8;
      const rest = word32(bytes, from + 4);
      const signs = evenSigns(Math.floor(rest / 2 ** (7 * (k & 3))) & 127);
      const vector = grid('iq2_xxs', bytes[from + (k & 3)]!);
      write8(values, to + 8 * k, scale2(d, Math.floor(rest / 2 ** 28)), signs, two(vector));
    }
  };

  /** d f16; 32 words of a grid index of 9 bits and seven signs; 8 bytes of two scales each. */
  const iq2_xs: BlockReader = (bytes, at, values, to) => {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 32; k++) {
      const code = word16(bytes, at + 2 + 2 * k);
      const scale = scale2(d, (bytes[at + 66 + (k >> 2)]! >> (4 * ((k >> 1) & 1))) & 15);
      write8(values, to + 8 * k, scale, evenSigns(code >> 9), two(grid('iq2_xs', code & 511)));
    }
  };

  /** d f16; 32 lower bytes of grid indices; 32 bytes of signs; 8 bytes of their upper two bits; 8 bytes of two scales each. */
  const iq2_s: BlockReader = (bytes, at, values, to) => {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 32; k++) {
      const upper = (bytes[at + 66 + (k >> 2)]! >> (2 * (k & 3))) & 3;
      const scale = scale2(d, (bytes[at + 74 + (k >> 2)]! >> (4 * ((k >> 1) & 1))) & 15);
      write8(values, to + 8 * k, scale, bytes[at + 34 + k]!, two(grid('iq2_s', bytes[at + 2 + k]! | (upper << 8))));
    }
  };

  /** d f16; 64 grid indices of 8 bits; for each 32 values four times seven signs and a scale of 4 bits. */
  const iq3_xxs: BlockReader = (bytes, at, values, to) => {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 32; k++) {
      const rest = word32(bytes, at + 66 + 4 * (k >> 2));
      const scale = fround(fround(d * (0.5 + Math.floor(rest / 2 ** 28))) * 0.5);
      const vectors = [0, 1].map((half) => grid('iq3_xxs', bytes[at + 2 + 2 * k + half]!));
      const signs = evenSigns(Math.floor(rest / 2 ** (7 * (k & 3))) & 127);
      write8(values, to + 8 * k, scale, signs, (j) => MAGNITUDES_3[(vectors[j >> 2]! >> (3 * (j & 3))) & 7]!);
    }
  };

  /** d f16; 64 lower bytes of grid indices; 8 bytes of their ninth bits; 32 bytes of signs; 4 bytes of two scales each. */
  const iq3_s: BlockReader = (bytes, at, values, to) => {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 32; k++) {
      const ninth = bytes[at + 66 + (k >> 2)]! >> (2 * (k & 3));
      const code = (bytes[at + 106 + (k >> 3)]! >> (4 * ((k >> 2) & 1))) & 15;
      const vectors = [0, 1].map((half) => grid('iq3_s', bytes[at + 2 + 2 * k + half]! | (((ninth >> half) & 1) << 8)));
      const magnitude = (j: number): number => 1 + 2 * ((vectors[j >> 2]! >> (3 * (j & 3))) & 7);
      write8(values, to + 8 * k, fround(d * (1 + 2 * code)), bytes[at + 74 + k]!, magnitude);
    }
  };

  /** Eight ternary digits plus or minus an eighth, times a scale. */
  const shifted8 = (values: Float32Array, to: number, scale: number, index: number, minus: number): void => {
    const vector = grid('iq1_s', index);
    const delta = minus ? -0.125 : 0.125;
    for (let j = 0; j < 8; j++) values[to + j] = fround(scale * (((vector >> (2 * j)) & 3) - 1 + delta));
  };

  /** d f16; 32 lower bytes of grid indices; for each 32 values a word of four times three upper bits, scale and shift. */
  const iq1_s: BlockReader = (bytes, at, values, to) => {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 32; k++) {
      const high = word16(bytes, at + 34 + 2 * (k >> 2));
      const index = bytes[at + 2 + k]! | (((high >> (3 * (k & 3))) & 7) << 8);
      shifted8(values, to + 8 * k, fround(d * (2 * ((high >> 12) & 7) + 1)), index, high & 0x8000);
    }
  };

  /** 32 lower bytes of grid indices; 16 bytes of two times three upper bits and a shift; four words of four scales and a part of d. */
  const iq1_m: BlockReader = (bytes, at, values, to) => {
    const words = [0, 1, 2, 3].map((i) => word16(bytes, at + 48 + 2 * i));
    const bits = words.reduce((sum, word, i) => sum | ((word >> 12) << (4 * i)), 0);
    const d = halfAt(Uint8Array.of(bits & 255, bits >> 8), 0);
    for (let k = 0; k < 32; k++) {
      const high = bytes[at + 32 + (k >> 1)]! >> (4 * (k & 1));
      const code = (words[k >> 3]! >> (3 * ((k >> 1) & 3))) & 7;
      shifted8(values, to + 8 * k, fround(d * (2 * code + 1)), bytes[at + k]! | ((high & 7) << 8), high & 8);
    }
  };

  return { iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s, iq1_s, iq1_m };
}
