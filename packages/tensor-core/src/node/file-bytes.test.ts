import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byteRange } from '../weight/byte-range.ts';
import { fileBytes } from './file-bytes.ts';

let folder = '';
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'pith-file-bytes-'))));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, bytes: Uint8Array): string {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
}

const openDescriptors = () => readdirSync('/proc/self/fd').length;

describe('fileBytes', () => {
  it('reads where it is asked to', async () => {
    const path = file(
      'a',
      Uint8Array.from({ length: 100 }, (_, i) => i),
    );
    const source = await fileBytes(path);
    expect(source).toMatchObject({ byteLength: 100, file: { path, offset: 0 } });
    expect([...(await source.read(97, 3))]).toEqual([97, 98, 99]);
    const target = new Uint8Array(2);
    await byteRange(source, 10, 5).readInto(3, target);
    expect([...target]).toEqual([13, 14]);
    expect(await source.read(100, 0)).toHaveLength(0);
    await source.close();
  });

  it.skipIf(process.platform !== 'linux')('opens one descriptor for all reads, and closes it', async () => {
    const path = file('b', new Uint8Array(64));
    const before = openDescriptors();
    const source = await fileBytes(path);
    expect(openDescriptors()).toBe(before);
    await Promise.all(Array.from({ length: 20 }, (_, i) => byteRange(source, i, 10).read(0, 10)));
    expect(openDescriptors()).toBe(before + 1);
    await source.close();
    await source.close();
    expect(openDescriptors()).toBe(before);
    expect(await source.read(0, 1)).toHaveLength(1); // opens it again
    await source.close();
  });

  it('tells a file that became shorter', async () => {
    const path = file('c', new Uint8Array(100));
    const source = await fileBytes(path);
    truncateSync(path, 40);
    await expect(source.read(30, 20)).rejects.toMatchObject({
      code: 'FILE_TRUNCATED',
      message: expect.stringContaining(`read ${path}: 20 bytes from offset 30 were expected, got 10`),
      details: { path, offset: 30, length: 20, got: 10 },
    });
    await source.close();
  });

  it('refuses ranges outside, reads over the cap, and what is no readable file', async () => {
    const source = await fileBytes(file('d', new Uint8Array(10)), { maxReadBytes: 4 });
    await expect(source.read(8, 3)).rejects.toMatchObject({ code: 'BYTES_OUT_OF_RANGE' });
    await expect(source.read(0, 5)).rejects.toMatchObject({ code: 'READ_TOO_LARGE' });
    await expect(source.readInto(0, new Uint8Array(10))).resolves.toBeUndefined();
    await source.close();
    await expect(fileBytes(join(folder, 'absent'))).rejects.toMatchObject({
      code: 'FILE_READ_FAILED',
      details: { errno: 'ENOENT' },
    });
    await expect(fileBytes(folder)).rejects.toMatchObject({ details: { errno: 'EISDIR' } });
  });
});
