// Sizes beyond 2^31 and 2^32, over sparse files: the file system holds a few pages of them.
import {
  mkdtempSync,
  openSync,
  closeSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint, openOutput, openSafetensorsFile } from '../node/index.ts';
import { buildFile, CountingBytes } from '../testing/build-safetensors.fixture.ts';
import { openSafetensors } from './open-safetensors.ts';
import { planOutput } from './plan-output.ts';

const GIB = 2 ** 30;
let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-large-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const roomFor = (bytes: number): boolean => {
  const { bavail, bsize } = statfsSync(tmpdir());
  return bavail * bsize > bytes;
};

describe('large files', () => {
  it('reads tensors of more than 2 GiB in a file of more than 4 GiB, anywhere', async () => {
    const layout = planOutput([
      { name: 'big', dtype: 'f32', shape: [2 ** 20, 700] },
      { name: 'last', dtype: 'bf16', shape: [1000, 2 ** 20] },
    ]);
    const [file] = layout.files;
    const path = join(root, 'model.safetensors');
    writeFileSync(path, file!.head);
    truncateSync(path, file!.byteLength);
    expect(statSync(path).size).toBeGreaterThan(4 * GIB);
    const values = Float32Array.of(1.5, -2, 3, 4);
    const at = layout.places.get('big')!.offset + ((2 ** 20 - 1) * 700 + 696) * 4;
    const descriptor = openSync(path, 'r+');
    writeSync(descriptor, new Uint8Array(values.buffer), 0, 16, at);
    writeSync(descriptor, Uint8Array.of(0x80, 0x3f), 0, 2, file!.byteLength - 2);
    closeSync(descriptor);
    writeFileSync(join(root, 'config.json'), '{}');
    const checkpoint = await openCheckpoint(root);
    const big = checkpoint.weight('big');
    expect(big.byteLength).toBeGreaterThan(2 * GIB);
    expect((await big.toF32(2 ** 20 - 1)).slice(696)).toEqual(values);
    const last = checkpoint.weight('last').slice(999, 1000);
    expect((await last.toF32())[2 ** 20 - 1]).toBe(1);
    if (last.kind !== 'dense') throw new Error('not dense');
    expect(last.file).toEqual({ path, offset: file!.byteLength - 2 ** 21 });
    await checkpoint.close();
  });

  it.skipIf(!roomFor(16 * GIB))('writes beyond 4 GiB without touching what lies between', async () => {
    const layout = planOutput([
      { name: 'big', dtype: 'u8', shape: [5 * GIB] },
      { name: 'last', dtype: 'i8', shape: [3] },
    ]);
    const directory = join(root, 'output');
    const output = await openOutput(directory, layout);
    await output.write('big', 5 * GIB - 4, Uint8Array.of(1, 2, 3, 4));
    await output.write('last', 0, Uint8Array.of(5, 6, 7));
    await output.finish();
    await output.publish();
    const path = join(directory, 'model.safetensors');
    expect(statSync(path).size).toBe(layout.totalBytes);
    expect(statSync(path).blocks * 512).toBeLessThan(GIB);
    const file = await openSafetensorsFile(path);
    expect(await file.tensors.get('big')!.source.read(5 * GIB - 5, 5)).toEqual(Uint8Array.of(0, 1, 2, 3, 4));
    expect(await file.tensors.get('last')!.source.read(0, 3)).toEqual(Uint8Array.of(5, 6, 7));
    await file.close();
  });

  it('reads a header of nearly 100 MB', async () => {
    const count = 200_000;
    const long = 'x'.repeat(400);
    const entries: string[] = [];
    for (let i = 0; i < count; i += 1) {
      entries.push(`"${i}.${long}":{"dtype":"U8","shape":[2],"data_offsets":[${2 * i},${2 * i + 2}]}`);
    }
    const bytes = buildFile(`{${entries.join(',')}}`, 2 * count);
    expect(bytes.length).toBeGreaterThan(90_000_000);
    const file = await openSafetensors(new CountingBytes(bytes), 'wide');
    expect(file.tensors.size).toBe(count);
    expect(file.tensors.get(`${count - 1}.${long}`)).toMatchObject({ byteLength: 2 });
  });
});
