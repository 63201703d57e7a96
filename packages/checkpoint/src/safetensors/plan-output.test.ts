import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { CountingBytes } from '../testing/build-safetensors.fixture.ts';
import { openSafetensors } from './open-safetensors.ts';
import { planOutput, type OutputTensor } from './plan-output.ts';

const u8 = (name: string, bytes: number): OutputTensor => ({ name, dtype: 'u8', shape: [bytes] });

describe('planOutput', () => {
  it('counts every byte: headers, data and index', () => {
    const layout = planOutput([u8('a', 5), u8('b', 6), u8('c', 7)], { shardBytes: 11 });
    expect(layout.files.map((file) => file.name)).toEqual([
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
    ]);
    expect(layout.dataBytes).toBe(18);
    expect(JSON.parse(layout.index!.text)).toEqual({
      metadata: { total_size: 18 },
      weight_map: {
        a: 'model-00001-of-00002.safetensors',
        b: 'model-00001-of-00002.safetensors',
        c: 'model-00002-of-00002.safetensors',
      },
    });
    const fileBytes = layout.files.reduce((sum, file) => sum + file.byteLength, 0);
    expect(layout.totalBytes).toBe(fileBytes + layout.index!.text.length);
  });

  it('gives a tensor larger than a shard a file of its own', () => {
    const layout = planOutput([u8('a', 1), u8('huge', 100), u8('b', 1)], { shardBytes: 10 });
    expect(layout.files.map((file) => file.tensors.map((tensor) => tensor.name))).toEqual([['a'], ['huge'], ['b']]);
  });

  it('writes one file and no index when no size is asked for', () => {
    const layout = planOutput([u8('a', 1)]);
    expect(layout.files.map((file) => file.name)).toEqual(['model.safetensors']);
    expect(layout.index).toBeUndefined();
    expect(planOutput([]).files).toHaveLength(1);
  });

  it('aligns the data and keeps offsets exact beyond 4 GiB', async () => {
    const layout = planOutput([
      { name: 'w', dtype: 'bf16', shape: [3, 1_000_000_007] },
      { name: 'v', dtype: 'f32', shape: [2 ** 31] },
    ]);
    const [file] = layout.files;
    expect(file!.head.length % 8).toBe(0);
    expect(layout.places.get('v')).toMatchObject({ offset: file!.head.length, byteLength: 2 ** 33 });
    expect(layout.places.get('w')).toMatchObject({ offset: file!.head.length + 2 ** 33, byteLength: 6_000_000_042 });
    expect(file!.byteLength).toBe(file!.head.length + 2 ** 33 + 6_000_000_042);
  });

  it('writes headers that its own reader accepts, with names that need escapes', async () => {
    const names = ['plain', 'quote"', 'back\\slash', 'line\nbreak', '重み', '😀', '__proto__', '0'];
    const layout = planOutput(names.map((name, i) => u8(name, i)));
    const bytes = new Uint8Array(layout.files[0]!.byteLength);
    bytes.set(layout.files[0]!.head);
    const file = await openSafetensors(new CountingBytes(bytes), 'x');
    expect([...file.tensors.keys()].sort()).toEqual([...names].sort());
    for (const [name, tensor] of file.tensors) expect(tensor.offset).toBe(layout.places.get(name)!.offset);
    expect(file.metadata).toEqual(new Map([['format', 'pt']]));
  });

  it('sorts names by code points, as the reference does, not by UTF-16 units', () => {
    const names = ['\uff5e', '😀', 'z', 'za'];
    const sorted = planOutput(names.map((name) => u8(name, 1))).files[0]!.tensors.map(({ name }) => name);
    expect(sorted).toEqual(['z', 'za', '\uff5e', '😀']);
  });

  it('does not depend on the order of metadata keys', () => {
    const head = (metadata: Record<string, string>) => planOutput([u8('a', 1)], { metadata }).files[0]!.head;
    expect(head({ b: '1', a: '2' })).toEqual(head({ a: '2', b: '1' }));
  });

  it('refuses all tensors that cannot be stored at once', () => {
    const wrong: OutputTensor[] = [
      u8('', 1),
      u8('twice', 1),
      u8('twice', 1),
      u8('__metadata__', 1),
      { name: 'shape', dtype: 'u8', shape: [1.5] },
      { name: 'negative', dtype: 'u8', shape: [-1] },
      { name: 'huge', dtype: 'f64', shape: [2 ** 52] },
      { name: 'half', dtype: 'f4', shape: [3] },
      { name: 'dtype', dtype: 'int4' as 'u8', shape: [2] },
    ];
    expect(() => planOutput(wrong)).toThrow(
      expect.objectContaining({
        code: 'OUTPUT_TENSOR_INVALID',
        details: { problems: expect.objectContaining({ length: 8 }) },
      }),
    );
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses shardBytes %s', (shardBytes) => {
    expect(() => planOutput([], { shardBytes })).toThrow(expect.objectContaining({ code: 'OUTPUT_OPTION_INVALID' }));
  });

  it.each(['', '../x', 'a/b', '.hidden'])('refuses the base name %j', (baseName) => {
    expect(() => planOutput([], { baseName })).toThrow(expect.objectContaining({ code: 'OUTPUT_OPTION_INVALID' }));
  });

  it('refuses a header that nobody would read', () => {
    const long = 'x'.repeat(4000);
    const tensors = Array.from({ length: 25_000 }, (_, i) => u8(`${i}${long}`, 0));
    expect(() => planOutput(tensors)).toThrow(expect.objectContaining({ code: 'SAFETENSORS_HEADER_TOO_LARGE' }));
  });
});

describe.skipIf(!hasShared)('planOutput against files of the reference writer', () => {
  const files = hasShared
    ? // models/stories260k is left out: another tool wrote it, with neither order nor padding.
      ['golden/compressed-tensors', 'golden/arch', 'models/docs6m'].flatMap((folder) =>
        readdirSync(shared(folder), { recursive: true, encoding: 'utf8' })
          .filter((name) => name.endsWith('.safetensors'))
          .map((name) => join(folder, name)),
      )
    : [];

  it.each(files)('makes the same header as %s', async (path) => {
    const bytes = readFileSync(shared(path));
    const file = await openSafetensors(new CountingBytes(bytes), path);
    const { head, byteLength } = planOutput([...file.tensors.values()].reverse(), {
      metadata: Object.fromEntries(file.metadata),
    }).files[0]!;
    expect(byteLength).toBe(bytes.length);
    expect(Buffer.from(head).equals(bytes.subarray(0, head.length))).toBe(true);
  });
});
