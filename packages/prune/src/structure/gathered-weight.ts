// Weights with fewer rows or columns, and under other names. Nothing is read until asked for, and bytes are moved as they
// are: a value keeps its bits.
import type { PlannedWeight } from '@pith/model';
import {
  byteLengthOf,
  denseWeight,
  factoredWeight,
  PithError,
  type ByteDType,
  type ByteSource,
  type DenseWeight,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';

/** Bytes of the source that are read at a time. */
const GATHER_BYTES = 4 * 2 ** 20;

/** Which rows and columns stay, in ascending order; all of an axis that is left out. */
export interface Kept {
  /** Indices along axis 0. */
  readonly rows?: Uint32Array | undefined;
  /** Indices along axis 1. */
  readonly columns?: Uint32Array | undefined;
}

/** True for representations that {@link keepSlices} can take rows and columns out of. */
export function isSliceable(weight: WeightTensor | PlannedWeight): boolean {
  if (weight.kind !== 'factored') return weight.kind === 'dense';
  return 'left' in weight ? isSliceable(weight.left) && isSliceable(weight.right) : weight.scheme === undefined;
}

/**
 * The weight restricted to some rows and columns. A factored weight stays one: rows leave its left factor, columns its
 * right one.
 *
 * @param chunkBytes Bytes of the source that are read at a time; tests make it small.
 * @throws PithError `WEIGHT_NOT_SLICEABLE` for codes and masks: their columns share scales or a pattern.
 */
export function keepSlices(weight: WeightTensor, kept: Kept, chunkBytes = GATHER_BYTES): WeightTensor {
  const { rows, columns } = kept;
  if (rows === undefined && columns === undefined) return weight;
  if (weight.kind === 'dense') return gathered(weight, kept, chunkBytes);
  if (weight.kind === 'factored') {
    const left = keepSlices(weight.left, { rows }, chunkBytes) as DenseWeight | QuantizedWeight;
    const right = keepSlices(weight.right, { columns }, chunkBytes) as DenseWeight | QuantizedWeight;
    return factoredWeight({ name: weight.name, left, right });
  }
  throw new PithError(
    'WEIGHT_NOT_SLICEABLE',
    `take slices out of ${weight.name}: it must be dense or factored, got ${weight.kind}; prune before it is stored so`,
    { details: { tensor: weight.name, representation: weight.kind } },
  );
}

/** The weight under another name, and its factors under names that follow from it. */
export function renamed(weight: WeightTensor, name: string): WeightTensor {
  if (weight.name === name) return weight;
  const slice = (start: number, end: number) => renamed(weight.slice(start, end), name);
  if (weight.kind !== 'factored') return Object.freeze({ ...weight, name, slice } as WeightTensor);
  const moved = (factor: DenseWeight | QuantizedWeight) =>
    renamed(factor, moduleOf(name) + factor.name.slice(moduleOf(weight.name).length)) as typeof factor;
  return factoredWeight({ name, left: moved(weight.left), right: moved(weight.right) });
}

const moduleOf = (name: string) => (name.endsWith('.weight') ? name.slice(0, -'.weight'.length) : name);

function gathered(weight: DenseWeight, { rows, columns }: Kept, chunkBytes: number): DenseWeight {
  const { name, shape } = weight;
  const dtype = weight.dtype as ByteDType;
  const size = byteLengthOf(dtype, 1);
  const [allRows, allColumns] = [shape[0] ?? 1, shape.slice(1).reduce((product, length) => product * length, 1)];
  const rowBytes = allColumns * size;
  const runs = columns === undefined ? undefined : runsOf(columns);
  const keptRowBytes = columns === undefined ? rowBytes : columns.length * size;
  const rowCount = rows?.length ?? allRows;
  const rowAt = (index: number) => (rows === undefined ? index : rows[index]!);
  const perChunk = Math.max(1, Math.floor(chunkBytes / Math.max(1, rowBytes)));

  /** Rows `first` to `last` (exclusive) of the result. */
  const readRows = async (first: number, last: number): Promise<Uint8Array> => {
    const result = new Uint8Array((last - first) * keptRowBytes);
    for (let row = first; row < last;) {
      // One read covers as many of the wanted rows as lie within a chunk of the source.
      const from = rowAt(row);
      let end = row + 1;
      while (end < last && rowAt(end) - from < perChunk) end += 1;
      const source = await weight.bytes(from, rowAt(end - 1) + 1);
      for (; row < end; row += 1) {
        const at = (rowAt(row) - from) * rowBytes;
        let to = (row - first) * keptRowBytes;
        if (runs === undefined) result.set(source.subarray(at, at + rowBytes), to);
        else {
          for (const [start, length] of runs) {
            result.set(source.subarray(at + start * size, at + (start + length) * size), to);
            to += length * size;
          }
        }
      }
    }
    return result;
  };

  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    if (length === 0) return new Uint8Array(0);
    const first = Math.floor(offset / keptRowBytes);
    const bytes = await readRows(first, Math.ceil((offset + length) / keptRowBytes));
    return bytes.subarray(offset - first * keptRowBytes, offset - first * keptRowBytes + length);
  };
  const source: ByteSource = {
    byteLength: rowCount * keptRowBytes,
    read,
    readInto: async (offset, target) => target.set(await read(offset, target.byteLength)),
  };
  const keptShape = [rowCount, ...(columns === undefined ? shape.slice(1) : [columns.length])];
  return denseWeight({ name, dtype, shape: keptShape, source });
}

/** Ascending indices as runs of neighbours: [first, length]. */
function runsOf(indices: Uint32Array): (readonly [number, number])[] {
  const runs: [number, number][] = [];
  for (const index of indices) {
    const last = runs.at(-1);
    if (last !== undefined && last[0] + last[1] === index) last[1] += 1;
    else runs.push([index, 1]);
  }
  return runs;
}
