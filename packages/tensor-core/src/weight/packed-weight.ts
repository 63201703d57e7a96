// A weight that lies in blocks which only its own format reads (GGUF's, bitsandbytes'): restored when it is asked for.
import { PithError } from '../errors/pith-error.ts';
import { matrixShape, requireRows } from './rows.ts';
import type { PackedWeight } from './weight-tensor.ts';

/** What a packed weight is made of. */
export interface PackedWeightParts {
  /** Name in the checkpoint. */
  readonly name: string;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** What the format calls its blocks: `q4_k`, `nf4`. */
  readonly coding: string;
  /** What restored values are best stored in. */
  readonly dtype: PackedWeight['dtype'];
  /** Exact bytes that rows `start` to `end` take in storage. */
  readonly byteLengthOfRows: (start: number, end: number) => number;
  /** Restores rows `start` to `end` (exclusive): f32 [rows, ...shape.slice(1)]. */
  readonly restore: (start: number, end: number) => Promise<Float32Array>;
  /** The stored bytes of rows `start` to `end`, where those of a row lie side by side and in the order of the shape. */
  readonly bytes?: (start: number, end: number) => Promise<Uint8Array>;
}

/**
 * A packed weight; nothing is read until it is asked for.
 *
 * @throws PithError `SHAPE_INVALID`, `SHAPE_TOO_LARGE`; its methods throw `ROWS_OUT_OF_RANGE`, `PACKED_BLOCK_MALFORMED`
 * (`restore` gave another number of values) and what `restore` and `bytes` throw
 */
export function packedWeight(parts: PackedWeightParts): PackedWeight {
  const { name, shape, coding, dtype, byteLengthOfRows, restore, bytes } = parts;
  const { rows, columns } = matrixShape(shape, name);
  return Object.freeze<PackedWeight>({
    kind: 'packed',
    name,
    shape: Object.freeze([...shape]),
    coding,
    dtype,
    byteLength: byteLengthOfRows(0, rows),
    toF32: async (start = 0, end = rows) => {
      requireRows(name, start, end, rows);
      const values = await restore(start, end);
      if (values.length === (end - start) * columns) return values;
      throw new PithError(
        'PACKED_BLOCK_MALFORMED',
        `restore ${name}: ${end - start} rows of ${columns} columns are expected, got ${values.length} values`,
        { kind: 'internal', details: { tensor: name, coding, rows: end - start, columns, got: values.length } },
      );
    },
    ...(bytes && {
      bytes: async (start = 0, end = rows) => {
        requireRows(name, start, end, rows);
        return bytes(start, end);
      },
    }),
    slice: (start, end) => {
      requireRows(name, start, end, rows);
      return packedWeight({
        ...parts,
        shape: [end - start, ...shape.slice(1)],
        byteLengthOfRows: (from, to) => byteLengthOfRows(start + from, start + to),
        restore: (from, to) => restore(start + from, start + to),
        ...(bytes && { bytes: (from: number, to: number) => bytes(start + from, start + to) }),
      });
    },
  });
}
