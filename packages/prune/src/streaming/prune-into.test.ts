import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { denseWeight, fromF32, localHost, memoryBytes, randomStream, toF32, type DenseWeight } from '@pith/tensor-core';
import { createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mask, type Comparison } from '../pattern/mask.ts';
import { parsePattern, type SparsityPattern } from '../pattern/pattern.ts';
import { pruneInto, type PruneIntoOptions, type ScoreFactors } from './prune-into.ts';

const DTYPES = ['f32', 'f16', 'bf16'] as const;
const half: SparsityPattern = { kind: 'unstructured', sparsity: 0.5 };

let pool: KernelPool;
let folder = '';
beforeAll(() => {
  pool = createKernelPool({ threads: 2 });
  folder = mkdtempSync(join(tmpdir(), 'pith-prune-'));
});
afterAll(async () => {
  await pool.dispose();
  rmSync(folder, { recursive: true });
});

/** Normal values with many ties and zeros of both signs. */
function values(count: number, name: string): Float32Array {
  const stream = randomStream(4, name);
  return Float32Array.from({ length: count }, (_, i) => {
    const value = stream.normal();
    if (i % 11 === 0) return i % 2 === 0 ? 0 : -0;
    return i % 3 === 0 ? Math.sign(value) * Math.round(4 * Math.abs(value)) : value;
  });
}

function dense(data: Float32Array, columns: number, dtype: (typeof DTYPES)[number] = 'f32'): DenseWeight {
  const source = memoryBytes(fromF32(dtype, data));
  return denseWeight({ name: 'w', dtype, shape: [data.length / columns, columns], source });
}

async function prune(weight: DenseWeight, options: Partial<PruneIntoOptions> = {}) {
  const bytes = new Uint8Array(weight.byteLength);
  const into = { host: pool, pattern: half, comparison: 'row', ...options } as const;
  const result = await pruneInto(weight, { kind: 'memory', bytes }, into);
  return { bytes, result, values: toF32(weight.dtype as 'f32', bytes) };
}

describe.each(DTYPES)('%s', (dtype) => {
  const [rows, columns] = [70, 48];
  const weight = dense(values(rows * columns, dtype), columns, dtype);
  const stream = randomStream(4, 'factors');
  const norms = Float32Array.from({ length: columns }, () => stream.uniform());
  const gradients = Float32Array.from({ length: rows * columns }, () => stream.normal());

  it.each<[string, SparsityPattern, Comparison, ScoreFactors | undefined]>([
    ['magnitude of rows', half, 'row', undefined],
    ['magnitude of the layer', half, 'layer', undefined],
    ['almost nothing', { kind: 'unstructured', sparsity: 0.001 }, 'layer', undefined],
    ['almost all', { kind: 'unstructured', sparsity: 0.999 }, 'layer', undefined],
    ['nothing', { kind: 'unstructured', sparsity: 0 }, 'layer', undefined],
    ['Wanda', { kind: 'unstructured', sparsity: 0.7 }, 'row', { per: 'column', values: norms }],
    ['Wanda over the layer', half, 'layer', { per: 'column', values: norms }],
    ['Wanda 2:4', parsePattern('2:4'), 'row', { per: 'column', values: norms }],
    ['magnitude 3:16', parsePattern('3:16'), 'row', undefined],
    ['Taylor', half, 'layer', { per: 'weight', values: gradients }],
    ['Taylor of rows', half, 'row', { per: 'weight', values: gradients }],
  ])('%s: the reference mask, what stays untouched, exact counts', async (_, pattern, comparison, factors) => {
    const exact = await weight.toF32();
    const at = (i: number) => factors?.values[factors.per === 'column' ? i % columns : i] ?? 1;
    const scores = exact.map((value, i) => Math.abs(Math.fround(value * at(i))));
    const kept = mask(scores, columns, { pattern, comparison });
    const stored = await weight.bytes();
    const width = stored.length / kept.length;
    const expected = stored.map((byte, i) => (kept[Math.floor(i / width)] === 1 ? byte : 0));
    const options = { pattern, comparison, ...(factors && { factors }) };
    const { bytes, result, values: pruned } = await prune(weight, options);
    expect(Buffer.compare(bytes, expected)).toBe(0);
    expect(result.pruned).toBe(kept.reduce((sum, bit) => sum - bit, kept.length));
    expect(result.zeros).toBe(pruned.reduce((sum, value) => sum + Number(value === 0), 0));
    expect(result.count).toBe(rows * columns);
    const sum = (keep: number) => scores.reduce((s, score, i) => s + (kept[i] === keep ? score * score : 0), 0);
    expect(result.lostScore).toBeCloseTo(sum(0) / (sum(0) + sum(1)), 10);
    // Other chunks, and this thread alone: the same bytes.
    for (const more of [{ chunkBytes: 1 }, { host: localHost() }]) {
      expect(Buffer.compare((await prune(weight, { ...options, ...more })).bytes, bytes)).toBe(0);
    }
  });
});

describe('files', () => {
  it.each(['row', 'layer'] as const)('go to files, with hashes of both sides (%s)', async (comparison) => {
    const columns = 64;
    const data = fromF32('bf16', values(100 * columns, 'file'));
    const path = join(folder, 'in');
    writeFileSync(path, Buffer.concat([Buffer.alloc(24), data]));
    const source = { ...memoryBytes(data), file: { path, offset: 24 } };
    const weight = denseWeight({ name: 'w', dtype: 'bf16', shape: [100, columns], source });
    const target = join(folder, 'out');
    writeFileSync(target, Buffer.alloc(8));
    const options = { host: pool, pattern: half, comparison, chunkBytes: 32 * columns * 2, hash: true } as const;
    const result = await pruneInto(weight, { kind: 'file', path: target, offset: 8 }, options);
    const { bytes } = await prune(weight, { comparison });
    expect(Buffer.compare(readFileSync(target).subarray(8), bytes)).toBe(0);
    const sha256 = (part: Uint8Array) => createHash('sha256').update(part).digest('hex');
    const chunk = 32 * columns * 2;
    for (const { of, offset: at, byteLength, sha256: hash } of result.hashes) {
      expect(hash).toBe(sha256((of === 'source' ? data : bytes).subarray(at, at + byteLength)));
    }
    const offsets = [0, chunk, 2 * chunk, 3 * chunk];
    expect(result.hashes.map(({ of, offset: at }) => [of, at])).toEqual([
      ...offsets.map((at) => ['source', at]),
      ...offsets.map((at) => ['pruned', at]),
    ]);
  });
});

describe('bad input', () => {
  it.each([NaN, Infinity])('names the place of %d', async (bad) => {
    const data = values(40 * 8, 'bad');
    data[35 * 8 + 3] = bad;
    for (const comparison of ['row', 'layer'] as const) {
      await expect(prune(dense(data, 8), { comparison, chunkBytes: 1 })).rejects.toMatchObject({
        code: 'WEIGHT_NOT_FINITE',
        details: { tensor: 'w', row: 35, column: 3, value: String(bad) },
      });
    }
  });

  it('names factors that make a score infinite', async () => {
    const factors: ScoreFactors = { per: 'column', values: Float32Array.of(1, 3e38) };
    await expect(prune(dense(Float32Array.of(1, 1, 1, 2), 2), { factors })).rejects.toMatchObject({
      code: 'SCORE_NOT_FINITE',
      details: { row: 1, column: 1 },
    });
  });

  it('takes weights that are all zero, and factors that are', async () => {
    const { values: zero, result } = await prune(dense(new Float32Array(16), 8));
    expect(zero).toEqual(new Float32Array(16));
    expect(result).toMatchObject({ pruned: 8, zeros: 16, lostScore: 0 });
    const factors: ScoreFactors = { per: 'column', values: new Float32Array(4) };
    const ones = await prune(dense(new Float32Array(8).fill(1), 4), { factors });
    expect([...ones.values]).toEqual([0, 0, 1, 1, 0, 0, 1, 1]);
  });

  it('refuses what it cannot prune', async () => {
    const weight = dense(values(60, 'shape'), 10);
    await expect(prune(weight, { pattern: parsePattern('2:4') })).rejects.toMatchObject({
      code: 'PATTERN_DOES_NOT_DIVIDE',
    });
    const bytes = memoryBytes(new Uint8Array(4));
    const other = denseWeight({ name: 'w', dtype: 'i8', shape: [2, 2], source: bytes });
    await expect(prune(other)).rejects.toMatchObject({ code: 'DTYPE_NOT_PRUNABLE' });
    const vector = denseWeight({ name: 'w', dtype: 'f32', shape: [1], source: bytes });
    await expect(prune(vector)).rejects.toMatchObject({ code: 'WEIGHT_NOT_MATRIX' });
    const factors: ScoreFactors = { per: 'column', values: new Float32Array(3) };
    await expect(prune(weight, { factors })).rejects.toMatchObject({ code: 'FACTORS_SIZE' });
    const short = { kind: 'memory', bytes: new Uint8Array(3) } as const;
    const options = { host: pool, pattern: half, comparison: 'row' } as const;
    await expect(pruneInto(weight, short, options)).rejects.toMatchObject({ code: 'DESTINATION_SIZE' });
    await expect(prune(weight, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'STOPPED' });
  });
});
