// Weights of a model over the tensors of a GGUF file: blocks stay packed until they are asked for, heads get their halves
// back, and what is stored as plain numbers is read as it lies.
import { GGML_TYPES, restoreBlocks, type GgufTensor } from '@pith/checkpoint';
import { denseWeight, fromF32, packedWeight, PithError, type ByteSource, type WeightTensor } from '@pith/tensor-core';

/** How a weight lies in a tensor of the file. */
export interface BlockView {
  /** Name of the weight. */
  readonly name: string;
  /** Its shape, outermost axis first. */
  readonly shape: readonly number[];
  /** The tensor. */
  readonly tensor: GgufTensor;
  /** Which row of the tensor is row i of the weight; the i-th when left out. Rows are along all axes but the last. */
  readonly rowOrder?: Int32Array;
  /** What was added to every value of the file, and is taken away; of vectors. */
  readonly offset?: number;
  /** Label of the file in errors. */
  readonly file: string;
}

const PLAIN = ['f32', 'f16', 'bf16'] as const;

/**
 * A weight; nothing is read until it is asked for.
 *
 * Reading throws `GGUF_VALUE_NOT_FINITE` for blocks that restore to NaN or infinity, and what the source throws.
 */
export function blockWeight(view: BlockView): WeightTensor {
  const { name, shape, tensor, rowOrder, offset = 0 } = view;
  if (offset !== 0) return shiftedWeight(view, offset);
  const plain = PLAIN.find((type) => type === tensor.type);
  const rows = rowReader(view);
  if (plain !== undefined) {
    const source = rowOrder === undefined ? tensor.source : orderedSource(rows, tensor.byteLength);
    return denseWeight({ name, dtype: plain, shape, source });
  }
  const { type } = tensor;
  return packedWeight({
    name,
    shape,
    coding: type,
    dtype: 'f32',
    byteLengthOfRows: (start, end) => rows.perAxis0 * (end - start) * rows.rowBytes,
    restore: async (start, end) => {
      const first = start * rows.perAxis0;
      const values = restoreBlocks(type, await rows.read(first, end * rows.perAxis0));
      requireFinite(view, values, first, rows.columns);
      return values;
    },
    ...(rowOrder === undefined && {
      bytes: (start: number, end: number) => rows.read(start * rows.perAxis0, end * rows.perAxis0),
    }),
  });
}

/** The values less what was added to them, as f32: norms, which are vectors. */
function shiftedWeight(view: BlockView, offset: number): WeightTensor {
  const { name, shape } = view;
  const plain = blockWeight({ ...view, offset: 0 });
  const shifted = async (start: number, end: number): Promise<Uint8Array> => {
    const values = await plain.toF32(start, end);
    for (let i = 0; i < values.length; i++) values[i]! -= offset;
    return fromF32('f32', values);
  };
  const byteLength = 4 * shape.reduce((a, b) => a * b, 1);
  // Whole values: a part that begins within one is cut from those around it.
  const read = async (at: number, length: number): Promise<Uint8Array> => {
    const start = Math.floor(at / 4);
    const values = await shifted(start, Math.ceil((at + length) / 4));
    return values.subarray(at - 4 * start, at - 4 * start + length);
  };
  const readInto = async (at: number, target: Uint8Array): Promise<void> =>
    target.set(await read(at, target.byteLength));
  return denseWeight({ name, dtype: 'f32', shape, source: { byteLength, read, readInto } });
}

interface RowReader {
  /** Values of a row: those along the last axis. */
  readonly columns: number;
  readonly rowBytes: number;
  /** Rows for each index of axis 0; less than one for a vector, whose only row holds many. */
  readonly perAxis0: number;
  /** Bytes of rows in the order of the weight. */
  read(start: number, end: number): Promise<Uint8Array>;
}

/** Rows that lie less than so many bytes apart are read at once. */
const GAP_BYTES = 2 ** 16;

function rowReader({ shape, tensor, rowOrder }: BlockView): RowReader {
  const { source, type } = tensor;
  const { blockSize, blockBytes } = GGML_TYPES[type];
  // A vector is read value by value where it is plain, and as one row of blocks where not.
  const vector = shape.length < 2;
  const columns = vector ? blockSize : shape.at(-1)!;
  const rowBytes = (columns / blockSize) * blockBytes;
  const perAxis0 = vector ? 1 / blockSize : shape.slice(1, -1).reduce((a, b) => a * b, 1);
  if (rowOrder === undefined) {
    return {
      columns,
      rowBytes,
      perAxis0,
      read: (start, end) => source.read(Math.floor(start) * rowBytes, (Math.ceil(end) - Math.floor(start)) * rowBytes),
    };
  }
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    const wanted = rowOrder.subarray(start, end);
    const result = new Uint8Array(wanted.length * rowBytes);
    const order = Int32Array.from(wanted.keys()).sort((a, b) => wanted[a]! - wanted[b]!);
    for (let from = 0; from < order.length;) {
      const first = wanted[order[from]!]!;
      let to = from + 1;
      while (to < order.length && (wanted[order[to]!]! - wanted[order[to - 1]!]! - 1) * rowBytes <= GAP_BYTES) to++;
      const count = wanted[order[to - 1]!]! + 1 - first;
      const run = await source.read(first * rowBytes, count * rowBytes);
      for (; from < to; from++) {
        const at = (wanted[order[from]!]! - first) * rowBytes;
        result.set(run.subarray(at, at + rowBytes), order[from]! * rowBytes);
      }
    }
    return result;
  };
  return { columns, rowBytes, perAxis0, read };
}

/** Bytes of plain rows in another order, read when asked for. */
function orderedSource({ rowBytes, read: readRows }: RowReader, byteLength: number): ByteSource {
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const start = Math.floor(offset / rowBytes);
    const rows = await readRows(start, Math.ceil((offset + length) / rowBytes));
    return rows.subarray(offset - start * rowBytes, offset - start * rowBytes + length);
  };
  return {
    byteLength,
    read,
    readInto: async (offset, target) => target.set(await read(offset, target.byteLength)),
  };
}

function requireFinite({ tensor, file }: BlockView, values: Float32Array, firstRow: number, columns: number): void {
  // x * 0 is 0 for every finite x: one pass without a branch for each value.
  let sum = 0;
  for (const value of values) sum += value * 0;
  if (sum === 0) return;
  const at = values.findIndex((value) => !Number.isFinite(value));
  const row = firstRow + Math.floor(at / columns);
  throw new PithError(
    'GGUF_VALUE_NOT_FINITE',
    `read GGUF: ${file}: ${tensor.name} restores to ${values[at]} in row ${row}; a scale of its ${tensor.type} blocks is damaged: get the file again`,
    { details: { file, tensor: tensor.name, type: tensor.type, row, value: String(values[at]) } },
  );
}
