// The kernels against ggml's goldens (ggml 0.25.3, `ggml_quantize_chunk`, a plain f32 build) and against the slow reference, which
// has no goldens for awkward values and sizes. Bytes are equal everywhere but where edges.fixture.ts says why they are not.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { GGML_TYPES, restoreBlocks } from '@pith/checkpoint';
import {
  denseWeight,
  fromF32,
  localHost,
  memoryBytes,
  randomStream,
  toF32,
  type ByteSource,
  type DenseWeight,
} from '@pith/tensor-core';
import { createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allocate, bytesAt, kernels, place, reset } from '../rtn/local-kernels.fixture.ts';
import { expectEdges } from './edges.fixture.ts';
import { DTYPE_NUMBER, ggmlByteLength, ggmlScratchBytes, needsImportance } from './ggml-kernel.ts';
import type { GgmlWritableType } from './ggml-types.ts';
import { ggmlGridBytes } from './grid-bytes.ts';
import { BLOCK_TYPES, quantizeBlocks, type BlockType } from './quantize-blocks.ts';
import { quantizeGgmlInto } from './quantize-into.ts';
import { GGML_WRITABLE_TYPES, quantizeGgmlRows } from './quantize-rows.ts';
import { interleavedRows } from './row-order.ts';

interface Entry {
  readonly type: string;
  readonly importance?: string;
  readonly file: string;
  readonly rmse: number;
}

const path = (file: string) => shared(`golden/ggml/${file}`);
const floats = (file: string) => new Float32Array(Uint8Array.from(readFileSync(path(file))).buffer);
const manifest = hasShared
  ? (JSON.parse(readFileSync(path('manifest.json'), 'utf8')) as { entries: Entry[]; edges: { entries: Entry[] } })
  : { entries: [], edges: { entries: [] } };
const ours = ({ type }: Entry) => BLOCK_TYPES.some((known) => known === type.toLowerCase());
const differing = (actual: Uint8Array, expected: Uint8Array) =>
  expected.reduce((n, byte, i) => n + Number(byte !== actual[i]), 0) + Math.abs(actual.length - expected.length);

function weightOf(dtype: 'f32' | 'f16' | 'bf16', values: Float32Array, shape: readonly number[]): DenseWeight {
  return denseWeight({ name: 'blk.w', dtype, shape, source: memoryBytes(fromF32(dtype, values)) });
}

describe.skipIf(!hasShared)('the kernels', () => {
  it.each(manifest.entries.filter(ours))('write the bytes of $file', async ({ type, importance, file, rmse }) => {
    const weights = importance === 'none' ? undefined : floats('importance.f32');
    if (importance === 'uniform') weights?.fill(1);
    const weight = weightOf('f32', floats('input.f32'), [8, 1024]);
    const expected = readFileSync(path(file));
    const bytes = new Uint8Array(expected.length);
    const job = { weight, type: type.toLowerCase() as BlockType, importance: weights };
    const { error } = await quantizeGgmlInto(job, { kind: 'memory', bytes }, { host: localHost() });
    expect(differing(bytes, expected)).toBe(0);
    // The manifest's own sum is in f64; ours adds 256 squares in f32 at a time: 64 additions in a lane.
    expect(Math.abs(Math.sqrt(error.mse) / rmse - 1)).toBeLessThan(64 * 2 ** -24);
  });

  it.each(manifest.edges.entries.filter(ours))('write the bytes of $file', async ({ type, importance, file }) => {
    const weights = importance === 'uniform' ? new Float32Array(256).fill(1) : undefined;
    const bytes = await quantizeGgmlRows(type.toLowerCase() as BlockType, floats('edges.f32'), 256, weights);
    expectEdges(file, bytes, readFileSync(path(file)), floats('edges.f32'));
  });
});

/** Rows that are hard to code: zeros of both signs, one value, one sign, far from zero, tiny, huge, ties, powers of two less an ulp. */
function awkwardRows(columns: number): Float32Array {
  const random = randomStream(5, 'awkward');
  const below = (x: number) => toF32('f32', fromF32('f32', Float32Array.of(x * (1 - 2 ** -24))))[0]!;
  const kinds: ((i: number) => number)[] = [
    (i) => (i % 3 === 0 ? -0 : 0),
    (i) => (i === 7 ? -3.5 : 0),
    () => -Math.abs(random.normal()),
    () => Math.abs(random.normal()) * 0.01,
    () => 5 + 0.001 * random.normal(),
    () => random.normal() * 1e-20,
    () => random.normal() * 1e-36,
    () => random.normal() * 900,
    (i) => ((i * 7) % 17) - 8,
    (i) => ((i * 7) % 17) / 2 - 4,
    (i) => (i % 2 === 0 ? 0.125 : -0.125),
    (i) => (i === 3 ? below(2 ** -6) : 0.001 * (i % 5)),
    (i) => (i % 64 < 32 ? -0 : random.normal()),
    (i) => (random.normal() * (i % 31 === 0 ? 30 : 1)) / 50,
    () => random.normal() ** 3 * 0.02,
  ];
  return Float32Array.from({ length: kinds.length * columns }, (_, k) => kinds[Math.floor(k / columns)]!(k % columns));
}

describe('the kernels against the reference', () => {
  it.each(BLOCK_TYPES)('write the same bytes: %s', async (type) => {
    const small = GGML_TYPES[type].blockSize <= 32;
    for (const columns of small ? [32, 288] : [256]) {
      const values = awkwardRows(columns);
      const random = randomStream(columns, 'importance');
      const importance = Float32Array.from({ length: columns }, (_, i) => (i % 50 === 0 ? 0 : random.normal() ** 2));
      for (const weights of [undefined, importance, new Float32Array(columns)]) {
        if (weights === undefined && needsImportance(type)) continue;
        const bytes = await quantizeGgmlRows(type, values, columns, weights);
        expect(differing(bytes, quantizeBlocks(type, values, columns, weights))).toBe(0);
      }
    }
  });

  it.each(BLOCK_TYPES)('measure what their blocks restore to: %s', async (type) => {
    const columns = 256;
    const values = awkwardRows(columns);
    for (let row = 0; row < values.length / columns; row++) {
      const x = values.subarray(row * columns, (row + 1) * columns);
      const bytes = new Uint8Array(ggmlByteLength(type, [columns]));
      const weight = weightOf('f32', x, [1, columns]);
      const importance = needsImportance(type) ? new Float32Array(columns).fill(1) : undefined;
      const job = { weight, type, importance };
      const { error } = await quantizeGgmlInto(job, { kind: 'memory', bytes }, { host: localHost() });
      const restored = restoreBlocks(type, bytes);
      const differences = x.map((value, i) => restored[i]! - value);
      const squares = x.reduce((sum, value) => sum + value * value, 0);
      const squaredErrors = differences.reduce((sum, e) => sum + e * e, 0);
      expect(error.maxAbsError).toBe(differences.reduce((most, e) => Math.max(most, Math.abs(e)), 0));
      // 64 additions in each lane of an f32 sum, a rounding of each product, and of each difference twice.
      const tolerance = 70 * 2 ** -24;
      expect(Math.abs(error.sumSquares - squares)).toBeLessThanOrEqual(tolerance * squares);
      expect(Math.abs(error.sumSquaredError - squaredErrors)).toBeLessThanOrEqual(tolerance * squaredErrors);
    }
  });

  it('say what scratch they need', () => {
    for (const columns of [32, 4096]) expect(kernels.ggmlScratchBytes(columns)).toBe(ggmlScratchBytes(columns));
  });

  it('leave what lies behind their output alone', () => {
    for (const type of GGML_WRITABLE_TYPES) {
      reset();
      const columns = 768;
      const source = place(awkwardRows(columns).subarray(0, columns));
      const importance = place(new Float32Array(columns).fill(1));
      const length = ggmlByteLength(type, [columns]);
      const [target, errors, scratch] = [allocate(length + 64), allocate(64), allocate(ggmlScratchBytes(columns) + 64)];
      const { id } = GGML_TYPES[type];
      const table = ggmlGridBytes(type);
      const grid = table ? place(table) : 0;
      kernels.ggmlQuantizeRows(id, source, DTYPE_NUMBER.f32, 1, columns, 0, importance, target, errors, scratch, grid);
      for (const end of [target + length, errors + 32, scratch + ggmlScratchBytes(columns)]) {
        expect([...bytesAt(end, 32)]).toEqual(new Array(32).fill(0xa5));
      }
    }
  });
});

let folder = '';
const pools = new Map<number, KernelPool>();
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pith-ggml-'));
  for (const threads of [0, 3]) pools.set(threads, createKernelPool({ threads, maxBytes: 64 * 2 ** 20 }));
});
afterAll(async () => {
  await Promise.all([...pools.values()].map((pool) => pool.dispose()));
  rmSync(folder, { recursive: true });
});

/** A source that lies in a file behind a few other bytes. */
function inFile(bytes: Uint8Array): ByteSource {
  const file = join(folder, 'source');
  writeFileSync(file, Buffer.concat([Buffer.alloc(24, 1), bytes]));
  return { ...memoryBytes(bytes), file: { path: file, offset: 24 } };
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('quantizeGgmlInto', () => {
  const [rows, columns, headDim] = [72, 288, 24];
  const random = randomStream(9, 'weight');
  const values = Float32Array.from({ length: rows * columns }, () => random.normal() * 0.02);
  const importance = Float32Array.from({ length: columns }, (_, i) => 1 + (i % 7));

  it.each(['bf16', 'f16', 'f32'] as const)(
    'reads %s rows in another order, file to file, for any threads',
    async (dtype) => {
      const stored = fromF32(dtype, values);
      const weight = denseWeight({ name: 'q', dtype, shape: [rows, columns], source: inFile(stored) });
      const rowOrder = interleavedRows(rows, headDim);
      expect([...rowOrder.subarray(0, 4), rowOrder[headDim + 1]]).toEqual([0, 12, 1, 13, 36]);
      const rounded = toF32(dtype, stored);
      const moved = Float32Array.from(
        rounded,
        (_, i) => rounded[rowOrder[Math.floor(i / columns)]! * columns + (i % columns)]!,
      );
      const expected = quantizeBlocks('q5_1', moved, columns, importance);
      const restored = restoreBlocks('q5_1', expected);
      const squared = restored.reduce((sum, value, i) => sum + (value - moved[i]!) ** 2, 0);
      for (const [threads, chunkBytes] of [
        [0, 1],
        [3, 1],
        [3, 2 ** 20],
      ] as const) {
        const out = join(folder, 'out');
        writeFileSync(out, Buffer.alloc(8 + expected.length, 0xee));
        const events: number[] = [];
        const result = await quantizeGgmlInto(
          { weight, type: 'q5_1', importance, rowOrder },
          { kind: 'file', path: out, offset: 8 },
          { host: pools.get(threads)!, chunkBytes, hash: true, progress: ({ done }) => void events.push(done) },
        );
        const written = readFileSync(out).subarray(8);
        expect(differing(written, expected)).toBe(0);
        expect(events.at(-1)).toBe(rows);
        expect(result).toMatchObject({ name: 'q', type: 'q5_1', bytesWritten: expected.length });
        expect(result.error.count).toBe(rows * columns);
        expect(Math.abs(result.error.sumSquaredError / squared - 1)).toBeLessThan(64 * 2 ** -24);
        expect(result.error.maxAbsError).toBe(
          restored.reduce((most, value, i) => Math.max(most, Math.abs(Math.fround(value - moved[i]!))), 0),
        );
        const ends = { source: 0, codes: 0 };
        for (const { of, offset, byteLength, sha256: digest } of result.hashes) {
          const bytes = of === 'source' ? stored : written;
          expect(digest).toBe(sha256(bytes.subarray(offset, offset + byteLength)));
          ends[of as 'source' | 'codes'] += byteLength;
        }
        expect(ends).toEqual({ source: stored.length, codes: written.length });
      }
    },
  );

  it('takes vectors, experts and weights of any representation', async () => {
    const vector = new Float32Array(50).map((_, i) => i / 7);
    const asF32 = new Uint8Array(200);
    const job = { weight: weightOf('bf16', vector, [50]), type: 'f32' as const };
    await quantizeGgmlInto(job, { kind: 'memory', bytes: asF32 }, { host: localHost() });
    expect(new Float32Array(asF32.buffer)).toEqual(toF32('bf16', fromF32('bf16', vector)));

    const expected = quantizeBlocks('q8_0', values, columns);
    const bytes = new Uint8Array(expected.length);
    const experts = weightOf('f32', values, [3, 24, columns]);
    await quantizeGgmlInto(
      { weight: experts, type: 'q8_0' },
      { kind: 'memory', bytes },
      { host: localHost(), chunkBytes: 1 },
    );
    expect(differing(bytes, expected)).toBe(0);

    const restoredOnly = { ...weightOf('f32', values, [rows, columns]), dtype: 'f64' } as DenseWeight;
    bytes.fill(0);
    const options = { host: pools.get(0)!, hash: true, chunkBytes: 1 };
    const { hashes } = await quantizeGgmlInto(
      { weight: restoredOnly, type: 'q8_0' },
      { kind: 'memory', bytes },
      options,
    );
    expect(differing(bytes, expected)).toBe(0);
    expect(new Set(hashes.map(({ of }) => of))).toEqual(new Set(['codes']));
  });

  it('refuses what cannot be written, by name', async () => {
    const bytes = new Uint8Array(ggmlByteLength('q4_0', [rows, columns]));
    const run = (
      changed: Float32Array,
      type: GgmlWritableType,
      more: { importance?: Float32Array; rowOrder?: Int32Array } = {},
      target = bytes,
    ) =>
      quantizeGgmlInto(
        { weight: weightOf('f32', changed, [rows, columns]), type, ...more },
        { kind: 'memory', bytes: target },
        { host: localHost(), chunkBytes: 1 },
      );
    const changed = values.slice();
    changed[40 * columns + 17] = NaN;
    await expect(run(changed, 'q4_0')).rejects.toMatchObject({
      code: 'WEIGHT_NOT_FINITE',
      details: { tensor: 'blk.w', row: 40, column: 17 },
    });
    const rowOrder = Int32Array.from({ length: rows }, (_, i) => rows - 1 - i);
    await expect(run(changed, 'q4_0', { rowOrder })).rejects.toThrow(/got NaN at row 40, column 17/);
    changed[40 * columns + 17] = 1e7;
    await expect(run(changed, 'q4_0')).rejects.toMatchObject({ code: 'SCALE_OVERFLOW', details: { row: 40 } });
    for (const type of ['iq2_xxs', 'iq2_xs', 'iq1_s'] as const) {
      const weight = weightOf('f32', new Float32Array(256), [1, 256]);
      const target = { kind: 'memory', bytes: new Uint8Array(ggmlByteLength(type, [256])) } as const;
      await expect(quantizeGgmlInto({ weight, type }, target, { host: localHost() })).rejects.toMatchObject({
        code: 'IMPORTANCE_MISSING',
        message: expect.stringMatching(`blk.w: ${type} needs importance.*--calibration or --imatrix`) as string,
      });
    }
    await expect(run(values, 'q4_k')).rejects.toThrow(/blk.w to q4_k: the columns must be a multiple of 256, got 288/);
    const short = importance.subarray(1);
    await expect(run(values, 'q4_0', { importance: short })).rejects.toThrow(/288 numbers from 0 on.*got 287 numbers/);
    const wrong = importance.slice().fill(-1, 5, 6);
    await expect(run(values, 'q4_0', { importance: wrong })).rejects.toThrow(/got -1 for column 5/);
    await expect(run(values, 'q4_0', { rowOrder: new Int32Array(rows) })).rejects.toMatchObject({
      code: 'ROW_ORDER_INVALID',
    });
    await expect(run(values, 'q4_0', {}, bytes.subarray(1))).rejects.toMatchObject({ code: 'DESTINATION_SIZE' });
  });

  it('stops when told to', async () => {
    const controller = new AbortController();
    const weight = weightOf('f32', values, [rows, columns]);
    const bytes = new Uint8Array(ggmlByteLength('q4_0', [rows, columns]));
    const running = quantizeGgmlInto(
      { weight, type: 'q4_0' },
      { kind: 'memory', bytes },
      {
        host: pools.get(0)!,
        chunkBytes: 1,
        signal: controller.signal,
        progress: () => controller.abort(),
      },
    );
    await expect(running).rejects.toMatchObject({ code: 'STOPPED' });
  });
});
