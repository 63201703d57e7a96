// A weight of codes, scales and zero points, over whatever can give blocks of rows.
import { PithError } from '../errors/pith-error.ts';
import { groupsPerRow, quantizedByteLength } from './quantized-layout.ts';
import { requireBlock } from './require-block.ts';
import { restore } from './restore.ts';
import { matrixShape, requireRows } from './rows.ts';
import type { ActivationQuantization, CodeBlock, StoredScheme, QuantizedWeight } from './weight-tensor.ts';

/** What a quantized weight is made of. */
export interface QuantizedWeightParts {
  /** Name in the checkpoint. */
  readonly name: string;
  /** Outermost axis first, `[rows, ...]`: the axes behind the first are one row of codes. */
  readonly shape: readonly number[];
  /** How it is coded. */
  readonly scheme: StoredScheme;
  /** Group of each column; columns in order when left out. */
  readonly groupIndex?: Int32Array;
  /** What stored scales are divided by; needed with scales in `f8_e4m3`. */
  readonly globalScale?: number;
  /** How the runtime quantizes the inputs; not at all when left out. */
  readonly activations?: ActivationQuantization;
  /** Reads the codes, scales and zero points of rows `start` to `end`. */
  readonly read: (start: number, end: number) => Promise<CodeBlock>;
  /**
   * Exact stored bytes of rows `start` to `end` as a weight of their own, for formats that differ from
   * {@link quantizedByteLength}, which counts when this is left out.
   */
  readonly byteLengthOfRows?: (start: number, end: number) => number;
}

/**
 * A quantized weight; nothing is read until it is asked for.
 *
 * @throws PithError `GROUP_SIZE_DOES_NOT_DIVIDE`, `GROUP_INDEX_INVALID`, `GLOBAL_SCALE_INVALID`, `SHAPE_INVALID`,
 * `SHAPE_TOO_LARGE`, `BITS_UNSUPPORTED`; its methods throw `ROWS_OUT_OF_RANGE`, `QUANTIZED_BLOCK_MALFORMED` and what `read` throws
 */
export function quantizedWeight(parts: QuantizedWeightParts): QuantizedWeight {
  const { name, shape, scheme, groupIndex, globalScale, activations } = parts;
  const { rows, columns } = matrixShape(shape, name);
  const groups = groupsPerRow(scheme.granularity, columns, name);
  if (groupIndex !== undefined) requireGroupIndex(name, groupIndex, columns, groups);
  requireGlobalScale(name, scheme, globalScale);
  const byteLengthOfRows =
    parts.byteLengthOfRows ??
    ((start: number, end: number) =>
      quantizedByteLength(scheme, end - start, columns, groupIndex !== undefined, activations));
  const block = async (start = 0, end = rows): Promise<CodeBlock> => {
    requireRows(name, start, end, rows);
    const found = await parts.read(start, end);
    requireBlock(found, scheme, end - start, columns);
    return found;
  };
  return Object.freeze<QuantizedWeight>({
    kind: 'quantized',
    name,
    shape: Object.freeze([...shape]),
    scheme,
    byteLength: byteLengthOfRows(0, rows),
    ...(groupIndex && { groupIndex }),
    ...(globalScale !== undefined && { globalScale }),
    ...(activations && { activations: Object.freeze({ ...activations }) }),
    block,
    toF32: async (start = 0, end = rows) => {
      return restore(await block(start, end), scheme, end - start, columns, groupIndex);
    },
    slice: (start, end) => {
      requireRows(name, start, end, rows);
      return quantizedWeight({
        ...parts,
        shape: [end - start, ...shape.slice(1)],
        read: (from, to) => parts.read(start + from, start + to),
        byteLengthOfRows: (from, to) => byteLengthOfRows(start + from, start + to),
      });
    },
  });
}

/** Reads of rows from a block [rows, columns] that lies in memory; the results are views of it. */
export function memoryBlock(block: CodeBlock, scheme: StoredScheme, rows: number, columns: number) {
  requireBlock(block, scheme, rows, columns);
  const groups = groupsPerRow(scheme.granularity, columns);
  const all = scheme.granularity.kind === 'tensor';
  return async (start: number, end: number): Promise<CodeBlock> => ({
    codes: block.codes.subarray(start * columns, end * columns),
    scales: all ? block.scales : block.scales.subarray(start * groups, end * groups),
    ...(block.zeroPoints && {
      zeroPoints: all ? block.zeroPoints : block.zeroPoints.subarray(start * groups, end * groups),
    }),
    ...(block.biases && { biases: block.biases.subarray(start * groups, end * groups) }),
  });
}

function requireGlobalScale(name: string, scheme: StoredScheme, globalScale: number | undefined): void {
  const needed = scheme.scaleDType === 'f8_e4m3';
  if (!needed && globalScale === undefined) return;
  if (needed && globalScale !== undefined && globalScale > 0 && globalScale < Infinity) return;
  throw new PithError(
    'GLOBAL_SCALE_INVALID',
    `quantized ${name}: ${needed ? 'scales in f8_e4m3 need a positive, finite global scale' : `scales in ${scheme.scaleDType} have no global scale`}, ` +
      `got ${globalScale}`,
    { details: { tensor: name, scaleDType: scheme.scaleDType, globalScale: String(globalScale) } },
  );
}

function requireGroupIndex(name: string, groupIndex: Int32Array, columns: number, groups: number): void {
  const wrong = groupIndex.find((group) => group < 0 || group >= groups);
  if (groupIndex.length === columns && wrong === undefined) return;
  const got = wrong === undefined ? `${groupIndex.length} of them` : `group ${wrong}`;
  throw new PithError(
    'GROUP_INDEX_INVALID',
    `quantized ${name}: the group index must give each of ${columns} columns a group from 0 to ${groups - 1}, got ${got}`,
    { details: { tensor: name, columns, groups } },
  );
}
