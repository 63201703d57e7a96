// A weight of kept values and a mask, over whatever can give blocks of rows.
import { byteLengthOf } from '../dtype/byte-length.ts';
import { toF32, type ByteDType } from '../dtype/convert.ts';
import { PithError } from '../errors/pith-error.ts';
import { requireRows } from './rows.ts';
import { sparseByteLength } from './sparse-layout.ts';
import type { SparseBlock, SparseWeight } from './weight-tensor.ts';

/** What a sparse weight is made of. */
export interface SparseWeightParts {
  /** Name in the checkpoint. */
  readonly name: string;
  /** [rows, columns]. */
  readonly shape: readonly number[];
  /** How it is stored. */
  readonly layout: SparseWeight['layout'];
  /** Format of the kept values. */
  readonly dtype: ByteDType;
  /**
   * Kept values before each row and before the end, ascending from 0: [rows + 1]. Sizes of slices follow from it. Left out for
   * 2:4, which keeps half of each row.
   */
  readonly rowStarts?: Float64Array;
  /** Reads kept values and mask of rows `start` to `end`. */
  readonly read: (start: number, end: number) => Promise<SparseBlock>;
}

/**
 * A sparse weight; nothing is read until it is asked for.
 *
 * @throws PithError `SHAPE_INVALID`, `SPARSE_ROWS_INVALID`; its methods throw `ROWS_OUT_OF_RANGE`, `SPARSE_BLOCK_MALFORMED` and
 * what `read` throws
 */
export function sparseWeight(parts: SparseWeightParts): SparseWeight {
  const { name, shape, layout, dtype, rowStarts } = parts;
  const [rows, columns] = matrix(parts);
  requireRowStarts(parts, rows, columns);
  const keptBefore = (row: number): number => (rowStarts ? rowStarts[row]! - rowStarts[0]! : (row * columns) / 2);
  const kept = keptBefore(rows);
  const block = async (start = 0, end = rows): Promise<SparseBlock> => {
    requireRows(name, start, end, rows);
    const found = await parts.read(start, end);
    requireSparseBlock(parts, found, start, end, keptBefore(end) - keptBefore(start));
    return found;
  };
  return Object.freeze<SparseWeight>({
    kind: 'sparse',
    name,
    shape: Object.freeze([...shape]),
    layout,
    dtype,
    kept,
    byteLength: sparseByteLength({ layout, dtype, rows, columns, kept }),
    block,
    toF32: async (start = 0, end = rows) => scatter(await block(start, end), dtype),
    slice: (start, end) => {
      requireRows(name, start, end, rows);
      return sparseWeight({
        ...parts,
        shape: [end - start, columns],
        ...(rowStarts && { rowStarts: rowStarts.subarray(start, end + 1) }),
        read: (from, to) => parts.read(start + from, start + to),
      });
    },
  });
}

/** The dense values of a block, f32, +0 where the mask is 0. */
function scatter({ values, mask }: SparseBlock, dtype: ByteDType): Float32Array {
  const kept = toF32(dtype, values);
  const dense = new Float32Array(mask.length);
  let next = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i] !== 0) dense[i] = kept[next++]!;
  return dense;
}

function matrix({ name, shape, layout }: SparseWeightParts): readonly [rows: number, columns: number] {
  const [rows, columns] = shape;
  const whole = shape.length === 2 && shape.every((length) => Number.isSafeInteger(length) && length >= 0);
  if (whole && Number.isSafeInteger(rows! * columns!) && (layout === 'bitmask' || columns! % 4 === 0)) {
    return [rows!, columns!];
  }
  throw new PithError(
    'SHAPE_INVALID',
    `sparse ${name}: the shape must be that of a matrix${layout === '2:4' ? ' with a multiple of 4 columns' : ''}, got [${shape.join(', ')}]`,
    { details: { tensor: name, shape, layout } },
  );
}

function requireRowStarts({ name, layout, rowStarts }: SparseWeightParts, rows: number, columns: number): void {
  if (layout === '2:4' && rowStarts === undefined) return;
  const fits = layout === 'bitmask' && rowStarts?.length === rows + 1;
  let wrong = fits ? -1 : 0;
  for (let row = 0; fits && wrong < 0 && row < rows; row++) {
    const count = rowStarts[row + 1]! - rowStarts[row]!;
    if (!(count >= 0 && count <= columns && Number.isInteger(rowStarts[row]))) wrong = row;
  }
  if (wrong < 0) return;
  throw new PithError(
    'SPARSE_ROWS_INVALID',
    layout === '2:4'
      ? `sparse ${name}: 2:4 keeps half of each row, where rows begin is not given`
      : `sparse ${name}: where rows begin must be ${rows + 1} ascending counts with 0 to ${columns} values in each row, they fail at row ${wrong}`,
    { details: { tensor: name, rows, columns, row: wrong } },
  );
}

function requireSparseBlock(
  { name, dtype, layout, shape }: SparseWeightParts,
  { values, mask }: SparseBlock,
  start: number,
  end: number,
  kept: number,
): void {
  const columns = shape[1]!;
  const ones = mask.reduce((sum, bit) => sum + bit, 0);
  const expected = byteLengthOf(dtype, kept);
  let problem = '';
  if (mask.length !== (end - start) * columns) problem = `${(end - start) * columns} mask values, got ${mask.length}`;
  else if (ones !== kept) problem = `a mask that keeps ${kept} values, got one that keeps ${ones}`;
  else if (values.byteLength !== expected) problem = `${expected} bytes of values, got ${values.byteLength}`;
  else if (layout === '2:4') {
    const run = mask.findIndex((_, i) => i % 4 === 0 && mask[i]! + mask[i + 1]! + mask[i + 2]! + mask[i + 3]! !== 2);
    if (run >= 0) problem = `two kept values of each four columns, not so at row ${start + Math.floor(run / columns)}`;
  }
  if (problem === '') return;
  throw new PithError('SPARSE_BLOCK_MALFORMED', `sparse ${name}: rows ${start} to ${end} take ${problem}`, {
    details: { tensor: name, start, end },
  });
}
