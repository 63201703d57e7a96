// Goldens: ggml 0.25.3, `ggml_quantize_chunk`, a plain f32 build.
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { expectEdges } from './edges.fixture.ts';
import { isGridType } from './grid-table.ts';
import { BLOCK_TYPES, quantizeBlocks, type BlockType } from './quantize-blocks.ts';

interface Entry {
  readonly type: string;
  readonly importance?: string;
  readonly file: string;
}

const path = (file: string) => shared(`golden/ggml/${file}`);
const floats = (file: string) => new Float32Array(Uint8Array.from(readFileSync(path(file))).buffer);
const manifest = hasShared
  ? (JSON.parse(readFileSync(path('manifest.json'), 'utf8')) as { entries: Entry[]; edges: { entries: Entry[] } })
  : { entries: [], edges: { entries: [] } };
const ours = ({ type }: Entry) => BLOCK_TYPES.some((known) => known === type.toLowerCase());
const differing = (actual: Uint8Array, expected: Uint8Array) =>
  expected.reduce((n, byte, i) => n + Number(byte !== actual[i]), 0);

describe.skipIf(!hasShared)('quantizeBlocks', () => {
  it.each(manifest.entries.filter(ours))('writes the bytes of $file', ({ type, importance, file }) => {
    const weights = importance === 'none' ? undefined : floats('importance.f32');
    if (importance === 'uniform') weights?.fill(1);
    // Searches of grids take long here; the kernels are held to all eight rows.
    const rows = isGridType(type.toLowerCase()) ? 2 : 8;
    const values = floats('input.f32').subarray(0, rows * 1024);
    const bytes = quantizeBlocks(type.toLowerCase() as BlockType, values, 1024, weights);
    const all = readFileSync(path(file));
    const expected = all.subarray(0, (all.length / 8) * rows);
    expect(bytes.length).toBe(expected.length);
    expect(differing(bytes, expected)).toBe(0);
  });

  it.each(manifest.edges.entries.filter(ours))('writes the bytes of $file', ({ type, importance, file }) => {
    const weights = importance === 'uniform' ? new Float32Array(256).fill(1) : undefined;
    const bytes = quantizeBlocks(type.toLowerCase() as BlockType, floats('edges.f32'), 256, weights);
    expectEdges(file, bytes, readFileSync(path(file)), floats('edges.f32'));
  });
});

describe('quantizeBlocks', () => {
  it('refuses columns that are no whole blocks, and importance that is no number', () => {
    expect(() => quantizeBlocks('q4_k', new Float32Array(64), 64)).toThrow(/multiple of 256, got 64/);
    expect(() => quantizeBlocks('q4_0', new Float32Array(32), 32, new Float32Array(32).fill(NaN))).toThrow(
      /importance/,
    );
    expect(() => quantizeBlocks('q4_0', new Float32Array(32), 32, new Float32Array(31))).toThrow(/32 numbers/);
    expect(() => quantizeBlocks('iq2_xs', new Float32Array(256), 256)).toThrow(/importance is needed/);
  });
});
