import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { denseWeight, fromF32, memoryBytes, randomStream, type DenseWeight } from '@pith/tensor-core';
import { createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { parseRange } from '../range/parse-range.ts';
import { parseScheme } from '../scheme/parse-scheme.ts';
import { resolveScheme, type QuantizableDType } from '../scheme/resolve-scheme.ts';
import { roundTo } from './arithmetic.ts';
import { quantizedPieces } from './pieces.ts';
import { quantize } from './quantize.ts';
import { referencePieces } from './reference-pieces.fixture.ts';
import { quantizeInto } from './quantize-into.ts';
import { quantizeWeight } from './quantize-weight.ts';
import type { PieceDestinations, WeightPlan } from './rtn-types.ts';

let folder = '';
const pools = new Map<number, KernelPool>();
const poolOf = (threads: number) => pools.get(threads)!;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pith-rtn-'));
  for (const threads of [0, 1, 3]) pools.set(threads, createKernelPool({ threads, maxBytes: 64 * 2 ** 20 }));
});
afterAll(async () => {
  await Promise.all([...pools.values()].map((pool) => pool.dispose()));
  rmSync(folder, { recursive: true });
});

const SHAPE = [75, 160] as const;
const PREFIX = 24;

function valuesOf(dtype: QuantizableDType): Float32Array {
  const random = randomStream(3, 'weight');
  return Float32Array.from({ length: SHAPE[0] * SHAPE[1] }, (_, i) =>
    roundTo(dtype, i < 160 ? 0 : random.normal() * (i % 97 === 0 ? 0.4 : 0.03)),
  );
}

/** The weight in a file behind a few other bytes. */
function weightInFile(dtype: QuantizableDType, values: Float32Array): DenseWeight {
  const bytes = fromF32(dtype, values);
  const path = join(folder, `source-${dtype}`);
  writeFileSync(path, Buffer.concat([Buffer.alloc(PREFIX, 1), bytes]));
  const source = { ...memoryBytes(bytes), file: { path, offset: PREFIX } };
  return denseWeight({ name: 'm.weight', dtype, shape: SHAPE, source });
}

function planOf(schemeName: string, dtype: QuantizableDType, range = 'minmax'): WeightPlan {
  const { storage, ...scheme } = parseScheme(schemeName);
  const resolved = resolveScheme({ ...scheme, storage }, dtype);
  const pieces = quantizedPieces(SHAPE, resolved, storage);
  const fixed = { name: 'm.weight', module: 'm', shape: SHAPE, dtype, scheme: resolved, storage };
  return { ...fixed, range: parseRange(range), pieces };
}

/** Output files of the right length, each piece behind 8 other bytes. */
function fileDestinations(plan: WeightPlan): { destinations: PieceDestinations; read: () => Record<string, Buffer> } {
  const paths = plan.pieces.map(({ piece, byteLength }) => {
    const path = join(folder, `out-${piece}`);
    writeFileSync(path, Buffer.alloc(8 + byteLength, 0xee));
    return { piece, path };
  });
  return {
    destinations: Object.fromEntries(paths.map(({ piece, path }) => [piece, { kind: 'file', path, offset: 8 }])),
    read: () => Object.fromEntries(paths.map(({ piece, path }) => [piece, readFileSync(path).subarray(8)])),
  };
}

/** What the reference says the pieces hold. */
function expectedPieces(plan: WeightPlan, values: Float32Array): Record<string, Buffer> {
  const result = quantize({ values, shape: SHAPE, dtype: plan.dtype }, plan.scheme, plan.range);
  return Object.fromEntries(
    Object.entries(referencePieces(plan, result)).map(([piece, bytes]) => [piece, Buffer.from(bytes)]),
  );
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('quantizeInto', () => {
  for (const [scheme, range] of [
    ['w4g32', 'minmax'],
    ['w4g32-asym', 'minmax'],
    ['w3-asym', 'mse:candidates=5'],
    ['w5-tensor', 'minmax'],
    ['w5-tensor-asym', 'mse:candidates=4'],
    ['w4-tensor-asym', 'percentile:99'],
    ['w4-tensor', 'percentile:98.5'],
    ['w6-tensor-asym', 'rms:2'],
    ['w8a8', 'minmax'],
    ['w8a8-asym', 'absmax'],
    ['fp8', 'minmax'],
    ['fp8-tensor', 'mse:candidates=3,smallest=0.5'],
    ['fp8-e5m2', 'minmax'],
    ['fp8-block-a16', 'minmax'],
    ['fp8-block33x40-a16', 'mse:candidates=3'],
    ['nvfp4', 'minmax'],
    ['mxfp4', 'mse:candidates=4'],
    ['mxfp8', 'minmax'],
  ] as const) {
    it(`writes what the reference says: ${scheme}, ${range}`, async () => {
      for (const dtype of ['bf16', 'f32'] as const) {
        const plan = planOf(scheme, dtype, range);
        const values = valuesOf(dtype);
        const weight = weightInFile(dtype, values);
        const expected = expectedPieces(plan, values);
        const results = [];
        for (const [threads, chunkBytes] of [
          [0, 1],
          [1, 2 ** 20],
          [3, 1],
        ] as const) {
          const { destinations, read } = fileDestinations(plan);
          results.push(await quantizeInto(plan, weight, destinations, { pool: poolOf(threads), chunkBytes }));
          expect(read()).toEqual(expected);
        }
        expect(results[1]).toEqual(results[0]);
        expect(results[2]).toEqual(results[0]);
      }
    });
  }

  it('reports the error of what it wrote, hashes every chunk and tells its progress', async () => {
    for (const scheme of ['w4g32-asym', 'w4-tensor-asym']) {
      const plan = planOf(scheme, 'bf16');
      const values = valuesOf('bf16');
      const { destinations, read } = fileDestinations(plan);
      const events: number[] = [];
      const result = await quantizeInto(plan, weightInFile('bf16', values), destinations, {
        pool: poolOf(3),
        hash: true,
        chunkBytes: 1,
        progress: ({ bytesDone, bytesTotal }) => void events.push(bytesDone! / bytesTotal!),
      });
      expect(events.at(-1)).toBe(1);
      expect(events).toHaveLength(3);
      const pieces: Record<string, Uint8Array> = { ...read(), source: fromF32('bf16', values) };
      for (const { of, offset, byteLength, sha256: digest } of result.hashes) {
        expect(digest).toBe(sha256(pieces[of]!.subarray(offset, offset + byteLength)));
      }
      for (const [name, bytes] of Object.entries(pieces)) {
        const own = result.hashes.filter(({ of }) => of === name);
        expect(own.reduce((end, { offset, byteLength }) => (offset === end ? end + byteLength : NaN), 0)).toBe(
          bytes.length,
        );
      }
      expect(result.bytesWritten).toBe(plan.pieces.reduce((sum, { byteLength }) => sum + byteLength, 0));

      const { error: again } = await quantizeWeight(weightInFile('bf16', values), { scheme });
      expect(again).toEqual(result.error);
      const { weight, error } = await quantizeWeight(weightInFile('f32', values), { scheme });
      const restored = await weight.toF32();
      const differences = restored.map((value, i) => Math.fround(value - values[i]!));
      const squared = differences.reduce((sum, difference) => sum + difference * difference, 0);
      const squares = values.reduce((sum, value) => sum + value * value, 0);
      expect(error.mse).toBeCloseTo(squared / values.length, 10);
      expect(error.signalToNoise).toBeCloseTo(10 * Math.log10(squares / squared), 4);
      expect(error.maxAbsError).toBe(differences.reduce((a, b) => Math.max(a, Math.abs(b)), 0));
    }
  });

  it('names tensor, row and column of a value that is not finite and writes nothing of its chunk', async () => {
    for (const scheme of ['w4g32', 'w4-tensor', 'fp8']) {
      for (const bad of [NaN, -Infinity]) {
        const plan = planOf(scheme, 'bf16');
        const values = valuesOf('bf16');
        values[40 * 160 + 7] = bad;
        values[70 * 160 + 1] = bad;
        const { destinations, read } = fileDestinations(plan);
        const run = quantizeInto(plan, weightInFile('bf16', values), destinations, { pool: poolOf(3), chunkBytes: 1 });
        await expect(run).rejects.toMatchObject({
          code: 'WEIGHT_NOT_FINITE',
          details: { tensor: 'm.weight', row: 40, column: 7, value: String(bad) },
        });
        const rowBytes = read()['codes']!.length / 75;
        expect(new Set(read()['codes']!.subarray(32 * rowBytes, 64 * rowBytes))).toEqual(new Set([0xee]));
      }
    }
  });

  it('refuses scales that their dtype cannot hold', async () => {
    const values = valuesOf('f32').map((value) => value * 1e8);
    for (const scheme of ['w4g32', 'w4-tensor']) {
      const plan = {
        ...planOf(scheme, 'f32'),
        scheme: { ...planOf(scheme, 'f32').scheme, scaleDType: 'f16' as const },
      };
      const pieces = quantizedPieces(SHAPE, plan.scheme, plan.storage);
      const { destinations } = fileDestinations({ ...plan, pieces });
      const run = quantizeInto({ ...plan, pieces }, weightInFile('f32', values), destinations, { pool: poolOf(1) });
      await expect(run).rejects.toMatchObject({ code: 'SCALE_OVERFLOW' });
    }
  });

  it('refuses a weight that is not the planned one, and destinations that do not fit', async () => {
    const plan = planOf('w4g32', 'bf16');
    const weight = weightInFile('bf16', valuesOf('bf16'));
    const { destinations } = fileDestinations(plan);
    const pool = poolOf(0);
    await expect(quantizeInto({ ...plan, dtype: 'f16' }, weight, destinations, { pool })).rejects.toMatchObject({
      code: 'PLAN_MISMATCH',
    });
    await expect(quantizeInto(plan, weight, { codes: destinations.codes! }, { pool })).rejects.toMatchObject({
      code: 'DESTINATION_MISSING',
    });
    const small = { ...destinations, scales: { kind: 'memory', bytes: new Uint8Array(3) } } as const;
    await expect(quantizeInto(plan, weight, small, { pool })).rejects.toMatchObject({ code: 'DESTINATION_SIZE' });
  });

  it('stops when asked and gives its memory back', async () => {
    const pool = poolOf(1);
    const plan = planOf('w4g32', 'bf16');
    const weight = weightInFile('bf16', valuesOf('bf16'));
    const { destinations } = fileDestinations(plan);
    const stop = new AbortController();
    const run = quantizeInto(plan, weight, destinations, {
      pool,
      chunkBytes: 1,
      signal: stop.signal,
      progress: () => stop.abort(),
    });
    await expect(run).rejects.toMatchObject({ code: 'STOPPED', kind: 'stopped' });
    const before = pool.memoryBytes;
    for (let i = 0; i < 20; i += 1) await quantizeInto(plan, weight, destinations, { pool });
    expect(pool.memoryBytes).toBe(before);
  });
});

describe('quantizeWeight', () => {
  it('lowers the error with a search, and never raises it', async () => {
    const weight = weightInFile('f32', valuesOf('f32'));
    for (const scheme of ['w2', 'w3', 'w4', 'w4-asym', 'w4g32', 'w3-tensor', 'fp8']) {
      const plain = await quantizeWeight(weight, { scheme });
      const searched = await quantizeWeight(weight, { scheme, range: 'mse' });
      expect(searched.error.sumSquaredError).toBeLessThanOrEqual(plain.error.sumSquaredError);
      if (scheme === 'w3') expect(searched.error.mse).toBeLessThan(0.9 * plain.error.mse);
    }
  });

  it('gains 6 dB with each further bit on evenly spread values', async () => {
    const random = randomStream(9, 'even');
    const values = Float32Array.from({ length: SHAPE[0] * SHAPE[1] }, () => 2 * random.uniform32() - 1);
    const weight = weightInFile('f32', values);
    for (const bits of [2, 3, 4, 5, 6, 7, 8]) {
      const { error } = await quantizeWeight(weight, { scheme: `w${bits}` });
      // A range of 2^bits - 1 steps; errors are even within a step.
      expect(Math.abs(error.signalToNoise - 20 * Math.log10(2 ** bits - 1))).toBeLessThan(0.3);
    }
  });

  it('refuses what is no matrix, what does not fit and what is no float', async () => {
    const weight = weightInFile('f32', valuesOf('f32'));
    await expect(quantizeWeight(weight, { scheme: 'w4g64' })).rejects.toThrow(
      /groups of 64 must divide its 160 columns; groups of .*32/,
    );
    const vector = denseWeight({ name: 'v', dtype: 'f32', shape: [4], source: memoryBytes(new Uint8Array(16)) });
    await expect(quantizeWeight(vector, { scheme: 'w4' })).rejects.toMatchObject({ code: 'WEIGHT_NOT_MATRIX' });
    const integers = denseWeight({ name: 'i', dtype: 'i8', shape: [4, 4], source: memoryBytes(new Uint8Array(16)) });
    await expect(quantizeWeight(integers, { scheme: 'w4' })).rejects.toMatchObject({ code: 'DTYPE_NOT_QUANTIZABLE' });
  });
});
