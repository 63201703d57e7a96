// Goldens: ggml 0.25.3, `ggml_type_traits.to_float` on the bytes of `ggml_quantize_chunk`.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { randomStream } from '@pith/tensor-core';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { GGML_TYPES, type GgmlTypeName } from './ggml-types.ts';
import { BLOCK_READERS, restoreBlocksReference } from './restore-blocks-reference.ts';
import { restoreBlocks } from './restore-blocks.ts';

interface Entry {
  readonly type: string;
  readonly ggmlType: number;
  readonly importance?: string;
  readonly file: string;
  readonly blockSize: number;
  readonly bytesPerBlock: number;
  readonly dequantizedSha256: string;
}

const path = (file: string) => shared(`golden/ggml/${file}`);
const manifest = hasShared
  ? (JSON.parse(readFileSync(path('manifest.json'), 'utf8')) as { entries: Entry[]; edges: { entries: Entry[] } })
  : { entries: [], edges: { entries: [] } };
const known = (entry: Entry) => entry.type.toLowerCase() in GGML_TYPES;
const entries = [...manifest.entries, ...manifest.edges.entries].filter(known);

describe.skipIf(!hasShared)('restoreBlocks', () => {
  it.each(entries)(
    'restores $file exactly',
    ({ type, ggmlType, file, blockSize, bytesPerBlock, dequantizedSha256 }) => {
      const name = type.toLowerCase() as GgmlTypeName;
      expect(GGML_TYPES[name]).toEqual({ id: ggmlType, blockSize, blockBytes: bytesPerBlock });
      const values = restoreBlocks(name, readFileSync(path(file)));
      const digest = createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
      expect(digest).toBe(dequantizedSha256);
    },
  );

  it('has goldens for every type of blocks', () => {
    const types = new Set(entries.map(({ type }) => type.toLowerCase()));
    const blocks = Object.entries(GGML_TYPES).filter(([, { blockSize }]) => blockSize > 1);
    expect([...types].filter((type) => GGML_TYPES[type as GgmlTypeName].blockSize > 1).sort()).toEqual(
      blocks.map(([type]) => type).sort(),
    );
  });
});

describe('restoreBlocks', () => {
  it.each(Object.keys(BLOCK_READERS) as (keyof typeof BLOCK_READERS)[])(
    'restores any bytes as the reference: %s',
    (type) => {
      const random = randomStream(3, type);
      // More than fits into the memory of the kernels at once.
      const bytes = Uint8Array.from({ length: 450 * GGML_TYPES[type].blockBytes }, () => random.below(256));
      const values = restoreBlocks(type, bytes);
      const expected = restoreBlocksReference(type, bytes);
      expect(values.length).toBe(expected.length);
      expect(expected.filter((value, i) => !Object.is(value, values[i]))).toHaveLength(0);
    },
  );

  it('refuses a part of a block', () => {
    expect(() => restoreBlocks('q4_k', new Uint8Array(145))).toThrow(/whole blocks of 144, got 145/);
  });
});
