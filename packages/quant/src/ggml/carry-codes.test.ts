// Codes as ggml's blocks: what ggml restores is what the weight restores to, bit for bit.
import { GGML_TYPES, restoreBlocks } from '@pith/checkpoint';
import {
  e8m0ToF32,
  fromF32,
  memoryBlock,
  quantizedWeight,
  randomStream,
  toF32,
  type CodeBlock,
  type Granularity,
  type QuantizedWeight,
  type StoredScheme,
} from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { carriesCodes, carryRows } from './carry-codes.ts';
import type { GgmlWritableType } from './ggml-types.ts';
import { interleavedRows } from './row-order.ts';

const [ROWS, COLUMNS] = [12, 128];

/** A weight of random codes, all of those that there are among them; scales are f16 values. */
function weightOf(scheme: StoredScheme, more: Partial<CodeBlock> & { groupIndex?: Int32Array } = {}): QuantizedWeight {
  const random = randomStream(7, JSON.stringify(scheme));
  const { granularity } = scheme;
  const perRow = granularity.kind === 'group' ? COLUMNS / granularity.size : 1;
  const groups = granularity.kind === 'tensor' ? 1 : ROWS * perRow;
  const bits = scheme.kind === 'int' || scheme.kind === 'affine' ? scheme.bits : 4;
  const half = scheme.kind === 'int' ? 2 ** (bits - 1) : 0;
  const numbers = Array.from({ length: ROWS * COLUMNS }, () => random.below(2 ** bits) - half);
  const codes = scheme.kind === 'int' ? Int8Array.from(numbers) : Uint8Array.from(numbers);
  const half16 = (values: Float32Array) => toF32('f16', fromF32('f16', values));
  const reals = () => half16(Float32Array.from({ length: groups }, () => random.normal() / 16));
  const scales =
    scheme.scaleDType === 'f8_e8m0' ? e8m0ToF32(Uint8Array.from({ length: groups }, () => random.below(250))) : reals();
  const zeros = Int8Array.from({ length: groups }, () => random.below(2 ** bits) - half);
  const { groupIndex, ...given } = more;
  const block: CodeBlock = {
    codes,
    scales,
    ...(scheme.kind === 'int' && !scheme.symmetric && { zeroPoints: zeros }),
    ...(scheme.kind === 'affine' && { biases: reals() }),
    ...given,
  };
  const read = memoryBlock(block, scheme, ROWS, COLUMNS);
  return quantizedWeight({ name: 'w', shape: [ROWS, COLUMNS], scheme, read, ...(groupIndex && { groupIndex }) });
}

const int = (bits: number, granularity: Granularity, symmetric = true): StoredScheme => {
  return { kind: 'int', bits, symmetric, granularity, scaleDType: 'f32' };
};
const group = (size: number): Granularity => ({ kind: 'group', size });
const affine = (bits: number): StoredScheme => {
  return { kind: 'affine', bits, granularity: { kind: 'group', size: 64 }, scaleDType: 'f32' };
};
const mx: StoredScheme = { kind: 'float', dtype: 'f4_e2m1', granularity: group(32), scaleDType: 'f8_e8m0' };

const CASES: readonly (readonly [string, GgmlWritableType, StoredScheme])[] = [
  ['4 bits', 'q4_0', int(4, group(32))],
  ['4 bits, wide groups', 'q4_0', int(4, group(64))],
  ['4 bits, a scale for each row', 'q4_0', int(4, { kind: 'channel' })],
  ['3 bits, one scale', 'q4_0', int(3, { kind: 'tensor' })],
  ['5 bits', 'q5_0', int(5, group(32))],
  ['4 bits', 'q8_0', int(4, group(32))],
  ['8 bits, a scale for each row', 'q8_0', int(8, { kind: 'channel' })],
  ['4 bits with zero points', 'q8_0', int(4, group(32), false)],
  ['7 bits with zero points', 'q8_0', int(7, group(64), false)],
  ['affine codes of 4 bits', 'q4_1', affine(4)],
  ['affine codes of 5 bits', 'q5_1', affine(5)],
  ['mxfp4', 'mxfp4', mx],
];

/** Equal, zeros of both signs alike: MXFP4 of ggml has one zero only. */
const expectEqual = (found: Float32Array, wanted: Float32Array) =>
  expect(found.map((value) => value + 0)).toEqual(wanted.map((value) => value + 0));

describe('carryRows', () => {
  it.each(CASES)('%s as %s restore alike', async (_, type, scheme) => {
    const weight = weightOf(scheme);
    expect(carriesCodes(weight, type)).toBe(true);
    const whole = await weight.toF32();
    const { bytes, rounded, sumSquaredError, maxAbsError } = await carryRows({ weight, type }, 0, ROWS);
    expect(bytes.length).toBe((ROWS * COLUMNS * GGML_TYPES[type].blockBytes) / 32);
    expectEqual(restoreBlocks(type, bytes), whole);
    expect({ rounded, sumSquaredError, maxAbsError }).toEqual({ rounded: 0, sumSquaredError: 0, maxAbsError: 0 });
    // In rows, and in the order that llama.cpp wants.
    const part = await carryRows({ weight, type }, 3, 5);
    expectEqual(restoreBlocks(type, part.bytes), whole.slice(3 * COLUMNS, 5 * COLUMNS));
    const rowOrder = interleavedRows(ROWS, 6);
    const moved = await carryRows({ weight, type, rowOrder }, 1, 8);
    const wanted = [...rowOrder.subarray(1, 8)].flatMap((row) => [
      ...whole.subarray(row * COLUMNS, (row + 1) * COLUMNS),
    ]);
    expectEqual(restoreBlocks(type, moved.bytes), Float32Array.from(wanted));
  });

  it('counts scales that are no f16 values, for each block, and measures what that changes', async () => {
    const scales = new Float32Array(2 * ROWS).fill(0.5);
    scales[5] = 0.1;
    const weight = weightOf(int(4, group(64)), { scales });
    const { bytes, rounded, maxAbsError, sumSquaredError } = await carryRows({ weight, type: 'q4_0' }, 0, ROWS);
    expect(rounded).toBe(2);
    const [a, b] = [restoreBlocks('q4_0', bytes), await weight.toF32()];
    const differences = a.map((value, i) => Math.abs(value - b[i]!));
    expect(maxAbsError).toBe(Math.max(...differences));
    // Codes up to 8, of a scale that is off by half a step of f16 between 2^-4 and 2^-3 at most.
    expect(maxAbsError).toBeLessThanOrEqual(8 * 2 ** -15);
    expect(sumSquaredError).toBeCloseTo(
      differences.reduce((sum, one) => sum + one ** 2, 0),
      12,
    );
  });

  it('refuses a scale that f16 has not, with its row', async () => {
    const scales = new Float32Array(ROWS).fill(1);
    scales[7] = 65_520;
    const weight = weightOf(int(4, { kind: 'channel' }), { scales });
    await expect(carryRows({ weight, type: 'q4_0' }, 2, ROWS)).rejects.toMatchObject({
      code: 'SCALE_OVERFLOW',
      message: expect.stringContaining('got 65520 in row 7') as string,
    });
  });
});

describe('carriesCodes', () => {
  it.each<[string, QuantizedWeight, GgmlWritableType]>([
    ['more bits than the type has', weightOf(int(5, group(32))), 'q4_0'],
    ['zero points', weightOf(int(4, group(32), false)), 'q4_0'],
    ['8 bits with zero points', weightOf(int(8, group(32), false)), 'q8_0'],
    ['groups smaller than a block', weightOf(int(4, group(16))), 'q4_0'],
    ['columns in another order', weightOf(int(4, group(64)), { groupIndex: new Int32Array(COLUMNS) }), 'q4_0'],
    ['tiles', weightOf(int(8, { kind: 'block', rows: 12, columns: 128 })), 'q8_0'],
    ['affine codes', weightOf(affine(4)), 'q4_0'],
    ['blocks of blocks', weightOf(int(4, group(32))), 'q4_k'],
    ['integers', weightOf(int(4, group(32))), 'mxfp4'],
  ])('is false for %s', (_, weight, type) => {
    expect(carriesCodes(weight, type)).toBe(false);
  });
});
