// Goldens: ggml 0.25.3, `ggml_quantize_chunk`, a plain f32 build.
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
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
    const bytes = quantizeBlocks(type.toLowerCase() as BlockType, floats('input.f32'), 1024, weights);
    const expected = readFileSync(path(file));
    expect(bytes.length).toBe(expected.length);
    expect(differing(bytes, expected)).toBe(0);
  });

  it.each(manifest.edges.entries.filter(ours))('writes the bytes of $file', ({ type, file }) => {
    const bytes = quantizeBlocks(type.toLowerCase() as BlockType, floats('edges.f32'), 256);
    expect(differing(bytes, readFileSync(path(file)))).toBe(0);
  });
});

describe('quantizeBlocks', () => {
  it('refuses columns that are no whole blocks, and importance that is no number', () => {
    expect(() => quantizeBlocks('q4_k', new Float32Array(64), 64)).toThrow(/multiple of 256, got 64/);
    expect(() => quantizeBlocks('q4_0', new Float32Array(32), 32, new Float32Array(32).fill(NaN))).toThrow(
      /importance/,
    );
    expect(() => quantizeBlocks('q4_0', new Float32Array(32), 32, new Float32Array(31))).toThrow(/32 numbers/);
  });
});
