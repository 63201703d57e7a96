// Codes that a weight has already as ggml's blocks, without rounding them again: 4-bit codes without zero points are Q4_0's, MX codes
// are MXFP4's. A scale is repeated for each block of 32 columns of its group. Blocks have their scales (and offsets) in f16: one that is
// no f16 value is rounded, and counted. Zero points fit where `code - zeroPoint` fits signed bytes (Q8_0). Columns in another order,
// tiles, and tables have no place.
//
// Source: ggml, `ggml-common.h` (block_q4_0 and so on), whose blocks have the lower halves of their bytes first.
import { GGML_TYPES, restoreBlocks } from '@pith/checkpoint';
import {
  fromF32,
  PithError,
  restore,
  toF32,
  type CodeBlock,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import type { GgmlWritableType } from './ggml-types.ts';
import { gatherRows } from './row-order.ts';

/** Columns of a block. */
const BLOCK = 32;

/** A weight whose codes are carried over. */
export interface CarriedWeight {
  /** The weight. */
  readonly weight: QuantizedWeight;
  /** Type of the blocks. */
  readonly type: GgmlWritableType;
  /** Which row of the weight is row i of the blocks, for each i; their own order when left out. */
  readonly rowOrder?: Int32Array | undefined;
}

/** Rows as blocks, and how they differ from the weight: only by rounded scales, and by what its own format rounds products to. */
export interface CarriedRows {
  /** The blocks of the rows, one row after the other. */
  readonly bytes: Uint8Array;
  /** Scales and offsets that are no f16 values and were rounded to one, each counted once for each block. */
  readonly rounded: number;
  /** Squares of the differences between what the blocks restore to and the weight, summed in f64. */
  readonly sumSquaredError: number;
  /** Squares of the weight's values, summed in f64. */
  readonly sumSquares: number;
  /** The largest difference. */
  readonly maxAbsError: number;
}

/**
 * True where blocks of a type hold the codes of a weight as they are. Nothing is read.
 *
 * - `q4_0`, `q5_0`, `q8_0`: integers of at most as many bits, without zero points;
 * - `q8_0`: also with zero points, up to 7 bits;
 * - `q4_1`, `q5_1`: affine codes (MLX) of at most as many bits;
 * - `mxfp4`: codes in e2m1 under exponents.
 */
export function carriesCodes(weight: WeightTensor, type: GgmlWritableType): weight is QuantizedWeight {
  if (weight.kind !== 'quantized' || weight.groupIndex !== undefined || weight.shape.length !== 2) return false;
  const { scheme } = weight;
  const { granularity } = scheme;
  if (weight.shape[1]! % BLOCK !== 0 || granularity.kind === 'block') return false;
  if (granularity.kind === 'group' && granularity.size % BLOCK !== 0) return false;
  switch (type) {
    case 'q4_0':
      return scheme.kind === 'int' && scheme.symmetric && scheme.bits <= 4;
    case 'q5_0':
      return scheme.kind === 'int' && scheme.symmetric && scheme.bits <= 5;
    case 'q8_0':
      return scheme.kind === 'int' && (scheme.symmetric || scheme.bits <= 7);
    case 'q4_1':
      return scheme.kind === 'affine' && scheme.bits <= 4;
    case 'q5_1':
      return scheme.kind === 'affine' && scheme.bits <= 5;
    case 'mxfp4':
      return scheme.kind === 'float' && scheme.dtype === 'f4_e2m1' && scheme.scaleDType === 'f8_e8m0';
    default:
      return false;
  }
}

/**
 * Rows `start` to `end` as blocks.
 *
 * @throws PithError `SCALE_OVERFLOW` (a scale beyond f16, with its row), and what reading the weight throws.
 */
export async function carryRows(
  { weight, type, rowOrder }: CarriedWeight,
  start: number,
  end: number,
): Promise<CarriedRows> {
  const columns = weight.shape[1]!;
  const { spans, places } = gatherRows(rowOrder, start, end - start);
  const { blockBytes } = GGML_TYPES[type];
  const rowBytes = (columns / BLOCK) * blockBytes;
  const read = new Uint8Array((end - start) * rowBytes);
  let [rounded, sumSquaredError, sumSquares, maxAbsError, done] = [0, 0, 0, 0, 0];
  for (const span of spans) {
    const count = span.end - span.start;
    const target = read.subarray(done * rowBytes, (done + count) * rowBytes);
    const block = await weight.block(span.start, span.end);
    rounded += packRows(weight, type, block, span.start, target);
    const values = restore(block, weight.scheme, count, columns);
    const restored = restoreBlocks(type, target);
    for (let i = 0; i < values.length; i += 1) {
      const difference = restored[i]! - values[i]!;
      sumSquares += values[i]! * values[i]!;
      sumSquaredError += difference * difference;
      maxAbsError = Math.max(maxAbsError, Math.abs(difference));
    }
    done += count;
  }
  const sums = { rounded, sumSquaredError, sumSquares, maxAbsError };
  if (places.length === 0) return { bytes: read, ...sums };
  const bytes = new Uint8Array(read.length);
  for (const [row, place] of places.entries()) {
    bytes.set(read.subarray(place * rowBytes, (place + 1) * rowBytes), row * rowBytes);
  }
  return { bytes, ...sums };
}

/** Packs the rows of a block of codes; returns how many scales and offsets were rounded. */
function packRows(
  { name, shape, scheme }: QuantizedWeight,
  type: GgmlWritableType,
  { codes, scales, zeroPoints, biases }: CodeBlock,
  firstRow: number,
  target: Uint8Array,
): number {
  const columns = shape[1]!;
  const { granularity } = scheme;
  const size = granularity.kind === 'group' ? granularity.size : columns;
  const perRow = granularity.kind === 'tensor' ? 0 : columns / size;
  const { blockBytes } = GGML_TYPES[type];
  const halves = (biases ? [scales, biases] : [scales]).map(halvesOf);
  const exponents = new Uint32Array(scales.buffer, scales.byteOffset, scales.length);
  // What makes integers unsigned.
  const shift = type === 'q4_0' ? 8 : type === 'q5_0' ? 16 : 0;
  const values = new Uint8Array(BLOCK);
  let rounded = 0;
  for (let block = 0; block * BLOCK < codes.length; block += 1) {
    const row = Math.floor((block * BLOCK) / columns);
    const group = row * perRow + (perRow === 0 ? 0 : Math.floor(((block * BLOCK) % columns) / size));
    const at = block * blockBytes;
    const zero = shift - (zeroPoints?.[group] ?? 0);
    for (let i = 0; i < BLOCK; i += 1) values[i] = codes[block * BLOCK + i]! + zero;
    if (type === 'mxfp4') {
      target[at] = exponents[group]! >>> 23;
      packValues(type, values, target, at + 1);
      continue;
    }
    for (const [part, half] of halves.entries()) {
      const bits = half.bits[group]!;
      if ((bits & 0x7c00) === 0x7c00) throw tooLarge(name, type, half.values[group]!, firstRow + row);
      if (half.back[group] !== half.values[group]) rounded += 1;
      target[at + 2 * part] = bits & 255;
      target[at + 2 * part + 1] = bits >> 8;
    }
    packValues(type, values, target, at + 2 * halves.length);
  }
  return rounded;
}

/** The 32 codes of a block behind its scale. */
function packValues(type: GgmlWritableType, values: Uint8Array, target: Uint8Array, at: number): void {
  if (type === 'q8_0') {
    target.set(values, at);
    return;
  }
  let place = at;
  if (type === 'q5_0' || type === 'q5_1') {
    // The fifth bits of all codes first.
    for (let byte = 0; byte < 4; byte += 1) {
      let bits = 0;
      for (let i = 0; i < 8; i += 1) bits |= ((values[8 * byte + i]! >> 4) & 1) << i;
      target[place + byte] = bits;
    }
    place += 4;
  }
  for (let i = 0; i < BLOCK / 2; i += 1) target[place + i] = (values[i]! & 15) | ((values[i + BLOCK / 2]! & 15) << 4);
}

/** Values, their f16 bits, and what those stand for. */
function halvesOf(values: Float32Array) {
  const bytes = fromF32('f16', values);
  const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, values.length);
  return { values, bits, back: toF32('f16', bytes) };
}

function tooLarge(name: string, type: GgmlWritableType, scale: number, row: number): PithError {
  return new PithError(
    'SCALE_OVERFLOW',
    `quantize ${name}: scales must fit f16 to be stored as ${type}, got ${scale} in row ${row}; choose bf16 or f32`,
    { details: { tensor: name, type, row, scale } },
  );
}
