// `quantize_4bit` of bitsandbytes 0.50 on the CPU: blocks of the flattened matrix, each value divided by the largest magnitude
// of its block (0 where that is 0) and replaced by the nearest value of a table, the lower of two that are as near.
import {
  codeTable,
  quantizedWeight,
  type CodeTable,
  type DenseWeight,
  type QuantizedWeight,
  type TableScheme,
} from '@pith/tensor-core';
import type { QuantizableDType } from '../scheme/resolve-scheme.ts';
import { roundedWeight } from './lazy-rounding.ts';

/**
 * A dense weight as bitsandbytes rounds it; lazy. Where the block does not divide the columns it lies across rows: scales are
 * then given for each run of columns that lies in one block and one row, and rows are rounded together.
 *
 * @param blockSize values that share a scale: 64, 128, ...
 * @throws PithError as `roundedWeight`.
 */
export function roundTable(weight: DenseWeight, table: CodeTable, blockSize: number): QuantizedWeight {
  const columns = weight.shape[1] ?? 0;
  const rows = weight.shape[0] ?? 0;
  const run = greatestDivisor(blockSize, Math.max(1, columns));
  const steps = stepsOf(table);
  const valueDType = weight.dtype as QuantizableDType;
  const scheme: TableScheme = {
    kind: 'table',
    table,
    granularity: { kind: 'group', size: run },
    scaleDType: 'f32',
    valueDType,
  };
  const rounded = (values: Float32Array, offset: number, count: number) => {
    const codes = new Uint8Array(count);
    const scales = new Float32Array(count / run);
    for (let block = 0; block < values.length; block += blockSize) {
      const end = Math.min(values.length, block + blockSize);
      let most = 0;
      for (let i = block; i < end; i += 1) most = Math.max(most, Math.abs(values[i]!));
      for (let i = Math.max(block, offset); i < Math.min(end, offset + count); i += 1) {
        codes[i - offset] = nearest(steps, most === 0 ? 0 : Math.fround(values[i]! / most));
        if ((i - offset) % run === 0) scales[(i - offset) / run] = most;
      }
    }
    return { codes, scales };
  };
  if (columns % blockSize === 0) return roundedWeight(weight, scheme, (values) => rounded(values, 0, values.length));
  const whole = roundedWeight(weight, scheme, (values) => rounded(values, 0, values.length));
  // Rows are rounded from the block that the first of them begins in to the one that the last ends in.
  const read = async (start: number, end: number) => {
    const first = Math.floor((Math.floor((start * columns) / blockSize) * blockSize) / columns);
    const last = Math.min(rows, Math.ceil((Math.ceil((end * columns) / blockSize) * blockSize) / columns));
    return { first, values: await weight.toF32(first, last) };
  };
  return acrossRows(whole, { columns, blockSize, read, rounded });
}

interface Across {
  readonly columns: number;
  readonly blockSize: number;
  readonly read: (start: number, end: number) => Promise<{ readonly first: number; readonly values: Float32Array }>;
  readonly rounded: (
    values: Float32Array,
    offset: number,
    count: number,
  ) => { codes: Uint8Array; scales: Float32Array };
}

function acrossRows(whole: QuantizedWeight, { columns, blockSize, read, rounded }: Across): QuantizedWeight {
  const { name, shape, scheme } = whole;
  return quantizedWeight({
    name,
    shape,
    scheme,
    read: async (start, end) => {
      // Refuses values that are not finite.
      await whole.block(start, end);
      const { first, values } = await read(start, end);
      const skip = (blockSize - ((first * columns) % blockSize)) % blockSize;
      const from = start * columns - first * columns;
      const lead = from >= skip ? skip : 0;
      return rounded(values.subarray(lead), from - lead, (end - start) * columns);
    },
  });
}

/** Codes by ascending value, and the points half way between two of them: what lies above one belongs to the upper. */
interface Steps {
  readonly codes: Uint8Array;
  readonly between: Float32Array;
}

function stepsOf(table: CodeTable): Steps {
  const levels = codeTable(table);
  // Of the two zeros of fp4 code 0 comes first: small positive values become code 8.
  const codes = Uint8Array.from({ length: 16 }, (_, code) => code).sort((a, b) => levels[a]! - levels[b]! || a - b);
  const between = Float32Array.from({ length: 15 }, (_, i) => (levels[codes[i]!]! + levels[codes[i + 1]!]!) / 2);
  return { codes, between };
}

function nearest({ codes, between }: Steps, value: number): number {
  let low = 0;
  let high = 15;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value > between[middle]!) low = middle + 1;
    else high = middle;
  }
  return codes[low]!;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
