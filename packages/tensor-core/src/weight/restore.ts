// Codes back to values by kernels, held to restore-reference.ts, which states the rule.
import { SCRATCH_BYTES, localKernels } from '../kernels/local-kernels.ts';
import { groupsPerRow } from './quantized-layout.ts';
import { requireBlock } from './require-block.ts';
import { restoreReference } from './restore-reference.ts';
import type { CodeBlock, FloatScheme, IntegerScheme, StoredScheme } from './weight-tensor.ts';

// Of a group in scratch memory: its scale and zero point; of a code: the byte and its f32.
const GROUP_BYTES = 5;
const CODE_BYTES = 5;
/** What the parts of a piece may lose to alignment. */
const SLACK_BYTES = 256;

/**
 * The values f32 [rows, columns] of a block of codes: `(code - zeroPoint) * scale`, rounded once, to the dtype of the
 * scales. compressed-tensors restores alike: with bf16 scales the values are bf16 values. Under scales of 8 bits (MX, NVFP4)
 * they are rounded to f32, where compressed-tensors rounds to bf16.
 *
 * @param groupIndex group of each column; columns in order when left out. Permuted columns are restored one by one.
 * @throws PithError `QUANTIZED_BLOCK_MALFORMED` when codes, scales, or zero points are too few or too many
 */
export function restore(
  block: CodeBlock,
  scheme: StoredScheme,
  rows: number,
  columns: number,
  groupIndex?: Int32Array,
): Float32Array {
  if (groupIndex !== undefined || scheme.kind === 'affine' || scheme.kind === 'table')
    return restoreReference(block, scheme, rows, columns, groupIndex);
  requireBlock(block, scheme, rows, columns);
  const values = new Float32Array(rows * columns);
  const { granularity } = scheme;
  const perRow = groupsPerRow(granularity, columns);
  if (granularity.kind === 'block' && columns % granularity.columns !== 0) {
    // The last tile of each row is narrower than the others.
    const last = columns % granularity.columns;
    for (let row = 0; row < rows; row++) {
      const [group, code] = [row * perRow, row * columns];
      restoreRun(block, scheme, { group, groups: perRow - 1, size: granularity.columns, code }, values);
      restoreRun(
        block,
        scheme,
        { group: group + perRow - 1, groups: 1, size: last, code: code + columns - last },
        values,
      );
    }
    return values;
  }
  const groups = granularity.kind === 'tensor' ? 1 : rows * perRow;
  const size = groups === 0 ? 0 : values.length / groups;
  if (size > 0) restoreRun(block, scheme, { group: 0, groups, size, code: 0 }, values);
  return values;
}

/** Restores groups of one size that follow each other, as many at once as fit the scratch memory. */
function restoreRun(block: CodeBlock, scheme: IntegerScheme | FloatScheme, run: Piece, values: Float32Array): void {
  const { size } = run;
  const room = SCRATCH_BYTES - SLACK_BYTES;
  const groupsAtOnce = Math.max(1, Math.floor(room / (GROUP_BYTES + size * CODE_BYTES)));
  const codesAtOnce = Math.min(size, Math.floor((room - GROUP_BYTES) / CODE_BYTES / 16) * 16);
  for (let done = 0; done < run.groups; done += groupsAtOnce) {
    const groups = Math.min(groupsAtOnce, run.groups - done);
    const group = run.group + done;
    // Either several groups at once, or a long group piece by piece.
    for (let start = 0; start < size; start += codesAtOnce) {
      const length = Math.min(codesAtOnce, size - start);
      restorePiece(block, scheme, { group, groups, size: length, code: run.code + done * size + start }, values);
    }
  }
}

interface Piece {
  /** First group and their number. */
  readonly group: number;
  readonly groups: number;
  /** Codes of each. */
  readonly size: number;
  /** First code. */
  readonly code: number;
}

/** What values are rounded to; 8-bit scales give f32. */
const ROUNDINGS = { f32: 0, bf16: 1, f16: 2, f8_e8m0: 0, f8_e4m3: 0 } as const;
const FORMATS = { f8_e4m3: 0, f8_e5m2: 1, f4_e2m1: 2 } as const;

function restorePiece(block: CodeBlock, scheme: IntegerScheme | FloatScheme, piece: Piece, values: Float32Array): void {
  const { kernels, scratch, bytes } = localKernels();
  const { group, groups, size, code } = piece;
  const count = groups * size;
  const align = (at: number): number => Math.ceil(at / 64) * 64;
  const scalesAt = scratch;
  const zerosAt = align(scalesAt + groups * 4);
  const codesAt = align(zerosAt + groups);
  const valuesAt = align(codesAt + count);
  new Float32Array(bytes.buffer, scalesAt, groups).set(block.scales.subarray(group, group + groups));
  const { codes, zeroPoints } = block;
  bytes.set(new Uint8Array(codes.buffer, codes.byteOffset + code, count), codesAt);
  const rounding = ROUNDINGS[scheme.scaleDType];
  if (scheme.kind === 'float') {
    kernels.restoreFloats(codesAt, scalesAt, valuesAt, groups, size, rounding, FORMATS[scheme.dtype]);
  } else {
    if (zeroPoints) new Int8Array(bytes.buffer, zerosAt, groups).set(zeroPoints.subarray(group, group + groups));
    kernels.restoreIntegers(codesAt, scalesAt, zeroPoints ? zerosAt : 0, valuesAt, groups, size, rounding);
  }
  values.set(new Float32Array(bytes.buffer, valuesAt, count), code);
}
