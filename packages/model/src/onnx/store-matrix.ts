// The bytes of stored tensors, made when they are written: rows of a weight are read, converted, packed and forgotten. Matrices
// of plain values are stored [in, out], as MatMul reads them, so that they are turned round in panels of bounded size.
import { fromF32, pack, PithError } from '@pith/tensor-core';
import type { ExportDType, QuantizedWeight, WeightTensor } from '@pith/tensor-core';
import { columnOrder } from './matrix-storage.ts';
import type { BlockStorage } from './matrix-storage.ts';

/** A tensor that lies beside the nodes of an exported model. */
export interface StoredTensor {
  /** Name of the initializer. */
  readonly name: string;
  /** Format of the values. */
  readonly dtype: ExportDType;
  /** Length of each axis. */
  readonly dims: readonly number[];
}

/** Bytes of a stored tensor from an offset on. */
export interface StoredBytes {
  /** Name of the tensor. */
  readonly name: string;
  /** Byte offset in the tensor. */
  readonly offset: number;
  /** Bytes from there. */
  readonly bytes: Uint8Array;
}

/** Tensors that are made together. */
export interface StoredGroup {
  /** The tensors, in the order in which they are placed. */
  readonly tensors: readonly StoredTensor[];
  /** Checkpoint name of the weight that they hold. */
  readonly source: string;
  /** All bytes of all tensors, in any order. */
  chunks(): AsyncGenerator<StoredBytes>;
}

/** Most f32 values that are restored at once. */
const PIECE_VALUES = 2 ** 21;
/** Most bytes of a panel of a matrix that is turned round. */
const PANEL_BYTES = 256 * 2 ** 20;

/** Limits of memory; tests lower them to reach the cut paths. */
export interface StoreLimits {
  /** Most values restored at once. */
  readonly pieceValues: number;
  /** Most bytes of a panel. */
  readonly panelBytes: number;
}

/** The limits that exports use. */
export const STORE_LIMITS: StoreLimits = { pieceValues: PIECE_VALUES, panelBytes: PANEL_BYTES };

function* rowRanges(rows: number, columns: number, { pieceValues }: StoreLimits): Generator<readonly [number, number]> {
  const step = Math.max(1, Math.floor(pieceValues / Math.max(1, columns)));
  for (let start = 0; start < rows; start += step) yield [start, Math.min(rows, start + step)];
}

function toFloat(dtype: 'f32' | 'f16', values: Float32Array, name: string): Uint8Array {
  if (dtype === 'f32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const found = values.find((value) => Math.abs(value) >= 65_520 && Number.isFinite(value));
  if (found !== undefined) {
    throw new PithError(
      'WEIGHT_OVERFLOWS',
      `export ${name} as f16: values must be below 65520, got ${found}; choose f32`,
      { details: { tensor: name, value: found } },
    );
  }
  return fromF32('f16', values);
}

const BYTES = { f32: 4, f16: 2 } as const;

/** A weight in its own order. */
export function storeRows(
  name: string,
  weight: WeightTensor,
  dtype: 'f32' | 'f16',
  limits = STORE_LIMITS,
): StoredGroup {
  const rows = weight.shape[0] ?? 1;
  const columns = weight.shape.slice(1).reduce((a, b) => a * b, 1);
  return {
    tensors: [{ name, dtype, dims: weight.shape }],
    source: weight.name,
    async *chunks() {
      for (const [start, end] of rowRanges(rows, columns, limits)) {
        const bytes = toFloat(dtype, await weight.toF32(start, end), weight.name);
        yield { name, offset: start * columns * BYTES[dtype], bytes };
      }
    },
  };
}

/** A matrix [out, in] as [in, out]. */
export function storeTransposed(
  name: string,
  weight: WeightTensor,
  dtype: 'f32' | 'f16',
  limits = STORE_LIMITS,
): StoredGroup {
  const [rows, columns] = weight.shape;
  return {
    tensors: [{ name, dtype, dims: [columns, rows] }],
    source: weight.name,
    async *chunks() {
      const panelColumns = Math.max(1, Math.min(columns, Math.floor(limits.panelBytes / (4 * rows))));
      for (let from = 0; from < columns; from += panelColumns) {
        const to = Math.min(columns, from + panelColumns);
        const panel = new Float32Array((to - from) * rows);
        for (const [start, end] of rowRanges(rows, columns, limits)) {
          turn(await weight.toF32(start, end), columns, [from, to], panel, rows, start);
        }
        yield { name, offset: from * rows * BYTES[dtype], bytes: toFloat(dtype, panel, weight.name) };
      }
    },
  };
}

/** Columns `from` to `to` of some rows become rows of a panel whose rows are `height` long, from index `at` on. */
function turn<T extends Float32Array | Int8Array>(
  values: T,
  columns: number,
  [from, to]: readonly [number, number],
  panel: T,
  height: number,
  at: number,
): void {
  const count = values.length / columns;
  // Squares of this size stay in the cache on both sides.
  const side = 64;
  for (let rowBlock = 0; rowBlock < count; rowBlock += side) {
    const lastRow = Math.min(count, rowBlock + side);
    for (let columnBlock = from; columnBlock < to; columnBlock += side) {
      const lastColumn = Math.min(to, columnBlock + side);
      for (let row = rowBlock; row < lastRow; row++) {
        for (let column = columnBlock; column < lastColumn; column++) {
          panel[(column - from) * height + at + row] = values[row * columns + column];
        }
      }
    }
  }
}

/** Where the codes of a matrix come from: stored, or rounded when they are asked for. */
export type CodeSource = () => Promise<QuantizedWeight>;

/** Names of the tensors of a matrix of codes. */
export const codeNames = (name: string, bits: number) => ({
  codes: `${name}_Q${bits}`,
  scales: `${name}_scales`,
  zeroPoints: `${name}_zp`,
});

/** A matrix [out, in] in the form of MatMulNBits. `shape` is that of the layer: codes of further columns are left out. */
export function storeBlocks(
  name: string,
  source: string,
  [rows, columns]: readonly [number, number],
  { bits, blockSize, symmetric, scaleDType }: BlockStorage,
  load: CodeSource,
  limits = STORE_LIMITS,
): StoredGroup {
  const blocks = Math.ceil(columns / blockSize);
  const blob = (blockSize * bits) / 8;
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  const names = codeNames(name, bits);
  return {
    source,
    tensors: [
      { name: names.codes, dtype: 'u8', dims: [rows, blocks, blob] },
      { name: names.scales, dtype: scaleDType, dims: [rows * blocks] },
      ...(symmetric ? [] : [{ name: names.zeroPoints, dtype: 'u8' as const, dims: [rows * zeroBytes] }]),
    ],
    async *chunks() {
      const weight = await load();
      const order = columnOrder(weight);
      const stored = weight.shape[1];
      const { granularity } = weight.scheme;
      const groups = granularity.kind === 'group' ? stored / granularity.size : 1;
      const blocksPerGroup = granularity.kind === 'group' ? granularity.size / blockSize : blocks;
      for (const [start, end] of rowRanges(rows, stored, limits)) {
        const block = await weight.block(start, end);
        const count = end - start;
        const filled = fillBlocks(block.codes as Int8Array, stored, columns, blocks * blockSize, order);
        const zeros = new Int8Array(count * blocks);
        const scales = new Float32Array(count * blocks);
        for (let row = 0; row < count; row++) {
          for (let i = 0; i < blocks; i++) {
            const group = granularity.kind === 'tensor' ? 0 : row * groups + Math.floor(i / blocksPerGroup);
            scales[row * blocks + i] = block.scales[group];
            if (block.zeroPoints) zeros[row * blocks + i] = block.zeroPoints[group];
          }
        }
        // Behind the last column stand codes of the value zero.
        if (columns < blocks * blockSize && block.zeroPoints) {
          for (let row = 0; row < count; row++) {
            const last = (row + 1) * blocks;
            filled.fill(zeros[last - 1], row * blocks * blockSize + columns, last * blockSize);
          }
        }
        yield { name: names.codes, offset: start * blocks * blob, bytes: packCodes(filled, count, bits) };
        yield {
          name: names.scales,
          offset: start * blocks * BYTES[scaleDType],
          bytes: toFloat(scaleDType, scales, source),
        };
        if (!symmetric) {
          yield { name: names.zeroPoints, offset: start * zeroBytes, bytes: packZeros(zeros, count, blocks, bits) };
        }
      }
    },
  };
}

/** Codes of rows in whole blocks, columns in order; zeros behind them. */
function fillBlocks(
  codes: Int8Array,
  stored: number,
  columns: number,
  width: number,
  order: Int32Array | undefined,
): Int8Array {
  if (stored === width && order === undefined && columns === width) return codes;
  const rows = codes.length / stored;
  const filled = new Int8Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const from = codes.subarray(row * stored, row * stored + columns);
    if (order === undefined) filled.set(from, row * width);
    else for (let i = 0; i < columns; i++) filled[row * width + i] = from[order[i]];
  }
  return filled;
}

/** Codes from 0 on: signed ones plus half of the range. */
function packCodes(codes: Int8Array, rows: number, bits: 4 | 8): Uint8Array {
  if (bits === 4) {
    const words = pack(codes, { rows, columns: codes.length / rows, bits });
    return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  }
  return Uint8Array.from(codes, (code) => code + 128);
}

function packZeros(zeros: Int8Array, rows: number, blocks: number, bits: 4 | 8): Uint8Array {
  if (bits === 8) return Uint8Array.from(zeros, (zero) => zero + 128);
  const width = Math.ceil(blocks / 2);
  const bytes = new Uint8Array(rows * width);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < blocks; i++)
      bytes[row * width + (i >> 1)] |= (zeros[row * blocks + i] + 8) << (i % 2 === 0 ? 0 : 4);
  }
  return bytes;
}

/** A matrix [out, in] of 8-bit codes with a scale for each row, as [in, out]. `unsigned` stores `code + 128`. */
export function storeChannels(
  name: string,
  source: string,
  [rows, columns]: readonly [number, number],
  { symmetric, unsigned }: { readonly symmetric: boolean; readonly unsigned: boolean },
  load: CodeSource,
  limits = STORE_LIMITS,
): StoredGroup {
  const names = codeNames(name, 8);
  const dtype = unsigned ? 'u8' : 'i8';
  const hasZeros = unsigned || !symmetric;
  const shifted = (values: Int8Array): Uint8Array =>
    unsigned
      ? Uint8Array.from(values, (code) => code + 128)
      : new Uint8Array(values.buffer, values.byteOffset, values.length);
  return {
    source,
    tensors: [
      { name: names.codes, dtype, dims: [columns, rows] },
      { name: names.scales, dtype: 'f32', dims: [rows] },
      ...(hasZeros ? [{ name: names.zeroPoints, dtype: dtype as ExportDType, dims: [rows] }] : []),
    ],
    async *chunks() {
      const weight = await load();
      const panelColumns = Math.max(1, Math.min(columns, Math.floor(limits.panelBytes / rows)));
      for (let from = 0; from < columns; from += panelColumns) {
        const to = Math.min(columns, from + panelColumns);
        const panel = new Int8Array((to - from) * rows);
        for (const [start, end] of rowRanges(rows, columns, limits)) {
          const block = await weight.block(start, end);
          turn(block.codes as Int8Array, columns, [from, to], panel, rows, start);
          if (from > 0) continue;
          const perRow = (values: Float32Array | Int8Array, row: number): number =>
            values[values.length === 1 ? 0 : row];
          const scales = Float32Array.from({ length: end - start }, (_, row) => perRow(block.scales, row));
          yield { name: names.scales, offset: 4 * start, bytes: new Uint8Array(scales.buffer) };
          if (!hasZeros) continue;
          const zeros = Int8Array.from({ length: end - start }, (_, row) =>
            block.zeroPoints ? perRow(block.zeroPoints, row) : 0,
          );
          yield { name: names.zeroPoints, offset: start, bytes: shifted(zeros) };
        }
        yield { name: names.codes, offset: from * rows, bytes: shifted(panel) };
      }
    },
  };
}
