// Goldens: ggml 0.25.3, `ggml_type_traits.to_float` on the bytes of `ggml_quantize_chunk`.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { GGML_TYPES, type GgmlTypeName } from './ggml-types.ts';
import { isRestorable, restoreBlocks } from './restore-blocks.ts';

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
  it.each(entries.filter(({ type }) => isRestorable(type.toLowerCase() as GgmlTypeName)))(
    'restores $file exactly',
    ({ type, ggmlType, file, blockSize, bytesPerBlock, dequantizedSha256 }) => {
      const name = type.toLowerCase() as GgmlTypeName;
      expect(GGML_TYPES[name]).toEqual({ id: ggmlType, blockSize, blockBytes: bytesPerBlock });
      const values = restoreBlocks(name, readFileSync(path(file)));
      const digest = createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
      expect(digest).toBe(dequantizedSha256);
    },
  );

  it('refuses a type whose tables are not here, by name', () => {
    expect(() => restoreBlocks('iq2_xxs', new Uint8Array(66))).toThrow(/iq2_xxs/);
  });
});
