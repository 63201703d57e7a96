// Which representation of a pruned weight is smallest. A weight that was pruned stays dense, with zeros, until someone asks
// for sparse storage; then each one is stored sparse only where that is smaller.
import { byteLengthOf } from '../dtype/byte-length.ts';
import type { ByteDType } from '../dtype/convert.ts';
import { sparseByteLength } from './sparse-layout.ts';
import { sparseWeight } from './sparse-weight.ts';
import type { DenseWeight, SparseBlock, SparseWeight, WeightTensor } from './weight-tensor.ts';

/** Bytes that are looked at at a time. */
const CHUNK_BYTES = 8 * 2 ** 20;

/** Dtypes whose zeros are looked for, and the bits of a value without its sign. */
const VALUE_BITS = { f32: 0x7fffffff, f16: 0x7fff, bf16: 0x7fff } as const;
type SparsifiedDType = keyof typeof VALUE_BITS;

/** Where the zeros of a dense weight lie. */
export interface ZeroCount {
  /** Values that are not zero before each row and before the end: [rows + 1]. */
  readonly rowStarts: Float64Array;
  /** True where no run of four columns has more than two values. */
  readonly twoOfFour: boolean;
}

/**
 * Counts the values of a dense matrix that are not zero; reads it once. -0 is zero.
 *
 * @returns null for what is not stored sparse: no matrix, or a dtype other than f32, f16, bf16.
 */
export async function countZeros(weight: DenseWeight): Promise<ZeroCount | null> {
  const [rows = 0, columns = 0] = weight.shape;
  if (weight.shape.length !== 2 || !(weight.dtype in VALUE_BITS)) return null;
  const rowStarts = new Float64Array(rows + 1);
  let twoOfFour = columns % 4 === 0;
  const step = rowsAtOnce(weight);
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    const kept = nonZeros(await weight.bytes(start, end), weight.dtype as SparsifiedDType);
    for (let row = start; row < end; row++) {
      const from = (row - start) * columns;
      let count = 0;
      for (let i = from; i < from + columns; i++) count += kept[i]!;
      if (twoOfFour) twoOfFour = hasAtMostTwoOfFour(kept, from, from + columns);
      rowStarts[row + 1] = rowStarts[row]! + count;
    }
  }
  return { rowStarts, twoOfFour };
}

/** Bytes of the representations that a dense weight can have; 2:4 only where it fits. */
export function representationBytes(
  weight: DenseWeight,
  { rowStarts, twoOfFour }: ZeroCount,
): Readonly<Partial<Record<'dense' | SparseWeight['layout'], number>>> {
  const [rows, columns] = weight.shape as readonly [number, number];
  const size = { dtype: weight.dtype as ByteDType, rows, columns };
  return {
    dense: weight.byteLength,
    bitmask: sparseByteLength({ ...size, layout: 'bitmask', kept: rowStarts[rows]! }),
    ...(twoOfFour && { '2:4': sparseByteLength({ ...size, layout: '2:4', kept: (rows * columns) / 2 }) }),
  };
}

/**
 * The weights in their smallest representations: dense matrices with enough zeros become sparse, all others stay as they are.
 *
 * A checkpoint has one sparse layout (compressed-tensors names it once), so the one that saves most in all is taken; a weight
 * that it does not fit, or does not make smaller, stays dense. Dense weights are read once to count, and again when used.
 */
export async function compactWeights(weights: Iterable<WeightTensor>): Promise<WeightTensor[]> {
  const counted: { weight: WeightTensor; zeros: ZeroCount | null }[] = [];
  const saved = { bitmask: 0, '2:4': 0 };
  for (const weight of weights) {
    // A matrix without a name that compressed-tensors knows is left alone.
    const zeros = weight.kind === 'dense' && weight.name.endsWith('.weight') ? await countZeros(weight) : null;
    counted.push({ weight, zeros });
    if (zeros === null || weight.kind !== 'dense') continue;
    const bytes = representationBytes(weight, zeros);
    for (const layout of ['bitmask', '2:4'] as const) {
      saved[layout] += Math.max(0, weight.byteLength - (bytes[layout] ?? weight.byteLength));
    }
  }
  const layout = saved['2:4'] >= saved.bitmask ? '2:4' : 'bitmask';
  return counted.map(({ weight, zeros }) => {
    if (zeros === null || weight.kind !== 'dense') return weight;
    const bytes = representationBytes(weight, zeros)[layout];
    return bytes !== undefined && bytes < weight.byteLength ? sparseOf(weight, layout, zeros) : weight;
  });
}

/**
 * A dense weight as a sparse one; nothing is read yet. For 2:4 a run with fewer than two values keeps its last zeros too, as
 * compressed-tensors does.
 *
 * @throws PithError as `sparseWeight`; reading throws `SPARSE_BLOCK_MALFORMED` where 2:4 does not fit.
 */
export function sparseOf(weight: DenseWeight, layout: SparseWeight['layout'], { rowStarts }: ZeroCount): SparseWeight {
  const { name, shape } = weight;
  const dtype = weight.dtype as SparsifiedDType;
  return sparseWeight({
    ...{ name, shape, layout, dtype },
    ...(layout === 'bitmask' && { rowStarts }),
    read: async (start, end): Promise<SparseBlock> => {
      const bytes = await weight.bytes(start, end);
      const mask = nonZeros(bytes, dtype);
      if (layout === '2:4') fillRuns(mask);
      return { mask, values: gather(bytes, mask, byteLengthOf(dtype, 1)) };
    },
  });
}

/** 1 where a value is not zero. */
function nonZeros(bytes: Uint8Array, dtype: SparsifiedDType): Uint8Array {
  const magnitude = VALUE_BITS[dtype];
  const words = dtype === 'f32' ? wordsOf(bytes, Uint32Array) : wordsOf(bytes, Uint16Array);
  const kept = new Uint8Array(words.length);
  for (let i = 0; i < words.length; i++) kept[i] = (words[i]! & magnitude) === 0 ? 0 : 1;
  return kept;
}

function hasAtMostTwoOfFour(kept: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i += 4) if (kept[i]! + kept[i + 1]! + kept[i + 2]! + kept[i + 3]! > 2) return false;
  return true;
}

/** Makes runs of four with fewer than two ones have two: the last zeros become ones. */
function fillRuns(mask: Uint8Array): void {
  for (let from = 0; from < mask.length; from += 4) {
    let ones = mask[from]! + mask[from + 1]! + mask[from + 2]! + mask[from + 3]!;
    for (let i = from + 3; ones < 2; i--) {
      if (mask[i] === 1) continue;
      mask[i] = 1;
      ones++;
    }
  }
}

function gather(bytes: Uint8Array, mask: Uint8Array, width: number): Uint8Array {
  const words = width === 4 ? wordsOf(bytes, Uint32Array) : wordsOf(bytes, Uint16Array);
  const values = words.slice();
  let next = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i] !== 0) values[next++] = words[i]!;
  return new Uint8Array(values.buffer, 0, next * width);
}

/** Words over bytes, copied where they are not aligned. */
function wordsOf<T extends Uint16Array | Uint32Array>(
  bytes: Uint8Array,
  type: { new (buffer: ArrayBufferLike, offset: number, length: number): T; readonly BYTES_PER_ELEMENT: number },
): T {
  const aligned = bytes.byteOffset % type.BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
  return new type(aligned.buffer, aligned.byteOffset, aligned.byteLength / type.BYTES_PER_ELEMENT);
}

function rowsAtOnce({ shape, byteLength }: DenseWeight): number {
  return Math.max(1, Math.floor(CHUNK_BYTES / Math.max(1, byteLength / shape[0]!)));
}
