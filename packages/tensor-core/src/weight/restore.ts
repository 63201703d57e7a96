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
 * scales. compressed-tensors restores alike: with bf16 scales the values are bf16 values.
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
  const whole = scheme.granularity.kind === 'tensor';
  const groups = whole ? 1 : rows * groupsPerRow(scheme.granularity, columns);
  const size = groups === 0 ? 0 : values.length / groups;
  if (size === 0) return values;
  const room = SCRATCH_BYTES - SLACK_BYTES;
  const groupsAtOnce = Math.max(1, Math.floor(room / (GROUP_BYTES + size * CODE_BYTES)));
  const codesAtOnce = Math.min(size, Math.floor((room - GROUP_BYTES) / CODE_BYTES / 16) * 16);
  for (let group = 0; group < groups; group += groupsAtOnce) {
    const count = Math.min(groupsAtOnce, groups - group);
    // Either several groups at once, or a long group piece by piece.
    for (let start = 0; start < size; start += codesAtOnce) {
      const length = Math.min(codesAtOnce, size - start);
      restorePiece(block, scheme, { group, groups: count, size: length, code: group * size + start }, values);
    }
  }
  return values;
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

const ROUNDINGS = { f32: 0, bf16: 1, f16: 2 } as const;

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
    const format = scheme.dtype === 'f8_e4m3' ? 0 : 1;
    kernels.restoreFloats(codesAt, scalesAt, valuesAt, groups, size, rounding, format);
  } else {
    if (zeroPoints) new Int8Array(bytes.buffer, zerosAt, groups).set(zeroPoints.subarray(group, group + groups));
    kernels.restoreIntegers(codesAt, scalesAt, zeroPoints ? zerosAt : 0, valuesAt, groups, size, rounding);
  }
  values.set(new Float32Array(bytes.buffer, valuesAt, count), code);
}
