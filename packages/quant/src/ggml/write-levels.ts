// IQ4_NL and IQ4_XS: sixteen uneven levels; and the ternary TQ1_0 and TQ2_0.
import { writeHalf, type BlockWriter } from './block-writer.ts';
import { clamp, extreme, f, nearest, roundAway, ZERO_BLOCK } from './f32.ts';

const LEVELS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/** Scales are tried for which the value of largest magnitude meets level -127 and up to 7 below and above. */
const TRIES = 7;

/** The nearest level, the upper one at a tie. */
function nearestLevel(x: number): number {
  if (x <= LEVELS[0]!) return 0;
  if (x >= LEVELS[15]!) return 15;
  let upper = 1;
  while (x >= LEVELS[upper]!) upper++;
  return f(x - LEVELS[upper - 1]!) < f(LEVELS[upper]! - x) ? upper - 1 : upper;
}

function fitLevels(x: Float32Array, weights: Float32Array): number {
  const largest = extreme(x);
  if (Math.abs(largest) < ZERO_BLOCK) return 0;
  const sums = (inverse: number): readonly [wqx: number, wqq: number] => {
    let wqx = 0;
    let wqq = 0;
    for (let j = 0; j < x.length; j++) {
      const q = LEVELS[nearestLevel(f(inverse * x[j]!))]!;
      wqx = f(wqx + f(f(weights[j]! * q) * x[j]!));
      wqq = f(wqq + f(f(weights[j]! * q) * q));
    }
    return [wqx, wqq];
  };
  const [wqx, wqq] = sums(f(1 / f(-largest / LEVELS[0]!)));
  let d = wqq > 0 ? f(wqx / wqq) : 0;
  let best = f(d * wqx);
  for (let step = -TRIES; step <= TRIES; step++) {
    const [tried, square] = sums(f((step + LEVELS[0]!) / largest));
    if (square > 0 && f(tried * tried) > f(best * square)) {
      d = f(tried / square);
      best = f(d * tried);
    }
  }
  return d;
}

function weigh(x: Float32Array, importance: Float32Array | undefined, variance: number): Float32Array {
  return x.map((value, j) => {
    const square = f(value * value);
    return importance ? f(importance[j]! * f(Math.sqrt(f(variance + square)))) : square;
  });
}

/** Sum of squares times 2 / count. */
function twiceMeanSquare(x: Float32Array): number {
  return f(x.reduce((sum, value) => f(sum + f(value * value)), 0) * f(2 / x.length));
}

function writeNibbles(bytes: Uint8Array, at: number, codes: readonly number[]): void {
  for (let j = 0; j < 16; j++) bytes[at + j] = codes[j]! | (codes[j + 16]! << 4);
}

/** IQ4_NL. */
export const writeIQ4NL: BlockWriter = (x, bytes, importance) => {
  const d = fitLevels(x, weigh(x, importance, twiceMeanSquare(x)));
  const inverse = d ? f(1 / d) : 0;
  writeHalf(bytes, 0, d);
  writeNibbles(
    bytes,
    2,
    Array.from(x, (value) => nearestLevel(f(inverse * value))),
  );
};

/** IQ4_XS. */
export const writeIQ4XS: BlockWriter = (x, bytes, importance) => {
  const variance = twiceMeanSquare(x);
  const parts = Array.from({ length: 8 }, (_, j) => x.subarray(32 * j, 32 * j + 32));
  const scales = Float32Array.from(parts, (part, j) =>
    fitLevels(part, weigh(part, importance?.subarray(32 * j, 32 * j + 32), variance)),
  );
  const d = f(-extreme(scales) / 32);
  writeHalf(bytes, 0, d);
  const inverse = d ? f(1 / d) : 0;
  parts.forEach((part, j) => {
    const code = clamp(nearest(f(inverse * scales[j]!)), -32, 31);
    const scale = f(d * code);
    const inverseScale = scale ? f(1 / scale) : 0;
    writeNibbles(
      bytes,
      8 + 16 * j,
      Array.from(part, (value) => nearestLevel(f(inverseScale * value))),
    );
    bytes[4 + (j >> 1)]! |= ((code + 32) & 15) << (4 * (j & 1));
    bytes[2 + (j >> 2)]! |= ((code + 32) >> 4) << (2 * (j & 3));
  });
};

/** Codes -1, 0, 1 as 0, 1, 2, and the scale. */
function ternary(x: Float32Array): { readonly d: number; readonly code: (i: number) => number } {
  const d = Math.abs(extreme(x));
  const inverse = d ? f(1 / d) : 0;
  return { d, code: (i) => roundAway(f(x[i]! * inverse)) + 1 };
}

/** TQ1_0: five ternary digits in a byte, as the fraction that they make, rounded up. */
export const writeTQ1_0: BlockWriter = (x, bytes) => {
  const { d, code } = ternary(x);
  let first = 0;
  for (const [at, count, digits] of [
    [0, 32, 5],
    [32, 16, 5],
    [48, 4, 4],
  ] as const) {
    for (let j = 0; j < count; j++) {
      let number = 0;
      for (let n = 0; n < 5; n++) number = 3 * number + (n < digits ? code(first + n * count + j) : 0);
      bytes[at + j] = Math.floor((number * 256 + 242) / 243);
    }
    first += count * digits;
  }
  writeHalf(bytes, 52, d);
};

/** TQ2_0: four codes of two bits in a byte. */
export const writeTQ2_0: BlockWriter = (x, bytes) => {
  const { d, code } = ternary(x);
  for (let half = 0; half < 2; half++) {
    for (let j = 0; j < 32; j++) {
      for (let n = 0; n < 4; n++) bytes[half * 32 + j]! |= (code(half * 128 + n * 32 + j) & 3) << (2 * n);
    }
  }
  writeHalf(bytes, 64, d);
};
