// Rows of f32 to blocks of ggml's types: the specification of faster kernels, bytes equal to those of ggml's own quantizers.
import { fromF32, PithError } from '@pith/tensor-core';
import { writeHalf, type BlockWriter } from './block-writer.ts';
import { f } from './f32.ts';
import { needsImportance } from './ggml-kernel.ts';
import { writeIQ2S, writeIQ2XS, writeIQ2XXS, writeIQ3S, writeIQ3XXS } from './write-grid.ts';
import { writeIQ4NL, writeIQ4XS, writeTQ1_0, writeTQ2_0 } from './write-levels.ts';
import { writeQ2K, writeQ3K, writeQ4K, writeQ5K, writeQ6K } from './write-k.ts';
import { writeIQ1M, writeIQ1S } from './write-ternary-grid.ts';
import { writeMXFP4, writeQ4_0, writeQ4_1, writeQ5_0, writeQ5_1, writeQ8_0 } from './write-simple.ts';

/** Values and bytes of a block, and what codes it. */
interface BlockFormat {
  readonly values: number;
  readonly bytes: number;
  readonly write: BlockWriter;
}

const format = (values: number, bytes: number, write: BlockWriter): BlockFormat => ({ values, bytes, write });

/** A type of blocks that can be written, by its name in llama.cpp in lower case. */
export type BlockType =
  | 'f16'
  | 'bf16'
  | 'q4_0'
  | 'q4_1'
  | 'q5_0'
  | 'q5_1'
  | 'q8_0'
  | 'q2_k'
  | 'q3_k'
  | 'q4_k'
  | 'q5_k'
  | 'q6_k'
  | 'iq4_nl'
  | 'iq4_xs'
  | 'iq3_s'
  | 'iq3_xxs'
  | 'iq2_s'
  | 'iq2_xs'
  | 'iq2_xxs'
  | 'iq1_s'
  | 'iq1_m'
  | 'tq1_0'
  | 'tq2_0'
  | 'mxfp4';

const FORMATS: Readonly<Record<BlockType, BlockFormat>> = {
  f16: format(1, 2, (x, bytes) => writeHalf(bytes, 0, x[0]!)),
  bf16: format(1, 2, (x, bytes) => bytes.set(fromF32('bf16', x))),
  q4_0: format(32, 18, writeQ4_0),
  q4_1: format(32, 20, writeQ4_1),
  q5_0: format(32, 22, writeQ5_0),
  q5_1: format(32, 24, writeQ5_1),
  q8_0: format(32, 34, writeQ8_0),
  q2_k: format(256, 84, writeQ2K),
  q3_k: format(256, 110, writeQ3K),
  q4_k: format(256, 144, writeQ4K),
  q5_k: format(256, 176, writeQ5K),
  q6_k: format(256, 210, writeQ6K),
  iq4_nl: format(32, 18, writeIQ4NL),
  iq4_xs: format(256, 136, writeIQ4XS),
  iq3_s: format(256, 110, writeIQ3S),
  iq3_xxs: format(256, 98, writeIQ3XXS),
  iq2_s: format(256, 82, writeIQ2S),
  iq2_xs: format(256, 74, writeIQ2XS),
  iq2_xxs: format(256, 66, writeIQ2XXS),
  iq1_s: format(256, 50, writeIQ1S),
  iq1_m: format(256, 56, writeIQ1M),
  tq1_0: format(256, 54, writeTQ1_0),
  tq2_0: format(256, 66, writeTQ2_0),
  mxfp4: format(32, 17, writeMXFP4),
};

/** Types that can be written. */
export const BLOCK_TYPES = Object.keys(FORMATS) as readonly BlockType[];

/**
 * Codes rows.
 *
 * @param x f32 [rows, columns] row-major.
 * @param importance f32 [columns]: how much an error in each column counts; all alike when left out.
 * @returns the blocks of the rows, one row after the other.
 * @throws PithError `BLOCK_DOES_NOT_DIVIDE`, `IMPORTANCE_INVALID`, `IMPORTANCE_MISSING`.
 */
export function quantizeBlocks(
  type: BlockType,
  x: Float32Array,
  columns: number,
  importance?: Float32Array,
): Uint8Array {
  const { values, bytes: blockBytes, write } = FORMATS[type];
  if (columns % values !== 0) {
    throw new PithError(
      'BLOCK_DOES_NOT_DIVIDE',
      `quantize to ${type}: the columns must be a multiple of ${values}, got ${columns}; choose a type with smaller blocks`,
      { details: { type, columns } },
    );
  }
  if (
    importance &&
    (importance.length !== columns || !importance.every((weight) => weight >= 0 && weight < Infinity))
  ) {
    throw new PithError(
      'IMPORTANCE_INVALID',
      `quantize to ${type}: importance must be ${columns} numbers from 0 on, one for each column; measure it again`,
      { details: { type, columns, got: importance.length } },
    );
  }
  if (!importance && needsImportance(type)) {
    throw new PithError('IMPORTANCE_MISSING', `quantize to ${type}: importance is needed, got none; measure it`, {
      details: { type },
    });
  }
  const blocks = x.length / values;
  const result = new Uint8Array(blocks * blockBytes);
  for (let row = 0; row * columns < x.length; row++) {
    const line = x.subarray(row * columns, (row + 1) * columns);
    const meanSquare = f(line.reduce((sum, value) => f(sum + f(value * value)), 0) / columns);
    for (let from = 0; from < columns; from += values) {
      const at = ((row * columns + from) / values) * blockBytes;
      write(
        line.subarray(from, from + values),
        result.subarray(at, at + blockBytes),
        importance?.subarray(from, from + values),
        {
          meanSquare,
        },
      );
    }
  }
  return result;
}
