import type * as fsPromises from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { planOutput, type OutputTensor } from '../safetensors/plan-output.ts';
import { openOutput, workingDirectoryOf } from './open-output.ts';
import { openSafetensorsFile } from './open-checkpoint.ts';
import { outputError } from './output-errors.ts';

const disk = vi.hoisted(() => ({
  /** What the disk claims to have free. */
  free: undefined as number | undefined,
  /** Changes to the disk after which the process is dead: each later one fails. */
  changesLeft: Number.POSITIVE_INFINITY,
}));
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof fsPromises>();
  const dead = (): boolean => {
    disk.changesLeft -= 1;
    return disk.changesLeft < 0;
  };
  const killed = () => Promise.reject(new Error('killed'));
  return {
    ...real,
    statfs: async (path: string) =>
      disk.free === undefined ? real.statfs(path) : { bavail: disk.free / 512, bsize: 512 },
    mkdir: (path: string) => (dead() ? killed() : real.mkdir(path)),
    rename: (from: string, to: string) => (dead() ? killed() : real.rename(from, to)),
    rmdir: (path: string) => (dead() ? killed() : real.rmdir(path)),
    open: async (path: string, flags: string) => {
      if (flags !== 'r' && dead()) return killed();
      const handle = await real.open(path, flags);
      const { truncate } = handle;
      const write = handle.write as (...args: [Uint8Array, number, number, number]) => Promise<unknown>;
      handle.write = (async (bytes: Uint8Array, at: number, length: number, position: number) => {
        if (!dead()) return write.call(handle, bytes, at, length, position);
        // The process dies in the middle of the call.
        if (disk.changesLeft === -1) await write.call(handle, bytes, at, Math.floor(length / 2), position);
        return killed();
      }) as typeof handle.write;
      handle.truncate = (size) => (dead() ? killed() : truncate.call(handle, size));
      return handle;
    },
  };
});

const tensors: OutputTensor[] = [
  { name: 'a', dtype: 'u8', shape: [100] },
  { name: 'b', dtype: 'f32', shape: [5, 5] },
  { name: 'c', dtype: 'i64', shape: [] },
];
const layout = planOutput(tensors, { shardBytes: 150 });
const content = (name: string, length: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + name.charCodeAt(0)) & 255);

let root = '';
let target = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-output-'));
  target = join(root, 'model');
});
afterEach(() => {
  disk.free = undefined;
  disk.changesLeft = Number.POSITIVE_INFINITY;
  rmSync(root, { recursive: true, force: true });
});

const expectCode = (code: string) => expect.objectContaining({ code });
const writeAll = async (output: Awaited<ReturnType<typeof openOutput>>) => {
  for (const { name, byteLength } of output.layout.places.values())
    await output.write(name, 0, content(name, byteLength));
};

describe('openOutput', () => {
  it('writes tensors in any order and any chunks, and nothing looks finished before it is', async () => {
    const output = await openOutput(target, layout);
    expect(output.resumed).toBe(false);
    expect(existsSync(target)).toBe(false);
    const { byteLength } = layout.places.get('a')!;
    const bytes = content('a', byteLength);
    await output.write('a', 60, bytes.subarray(60));
    await output.write('c', 0, content('c', 8));
    await output.write('a', 0, new Uint8Array(10));
    await output.write('a', 0, bytes.subarray(0, 60));
    await output.write('b', 0, content('b', 100));
    await output.writeFile('config.json', '{}');
    expect(readdirSync(output.workingDirectory).filter((name) => name.endsWith('.safetensors'))).toEqual([]);
    await output.finish();
    expect(existsSync(target)).toBe(false);
    expect(readdirSync(output.workingDirectory).sort()).toEqual(
      ['config.json', ...layout.files.map((file) => file.name), layout.index!.name].sort(),
    );
    await output.publish();
    expect(existsSync(output.workingDirectory)).toBe(false);
    for (const file of layout.files) {
      const read = await openSafetensorsFile(join(target, file.name));
      for (const { name, source } of read.tensors.values()) {
        expect(await source.read(0, source.byteLength), name).toEqual(content(name, source.byteLength));
      }
      await read.close();
    }
    expect(readFileSync(join(target, layout.index!.name), 'utf8')).toBe(layout.index!.text);
  });

  it('says where bytes go, so that other threads can write them', async () => {
    const output = await openOutput(target, layout);
    const { path, offset, byteLength } = output.location('b');
    expect(path.startsWith(output.workingDirectory)).toBe(true);
    expect(byteLength).toBe(100);
    execFileSync(process.execPath, [
      '-e',
      `const fs = require('fs'); const f = fs.openSync(${JSON.stringify(path)}, 'r+'); fs.writeSync(f, Buffer.alloc(100, 9), 0, 100, ${offset})`,
    ]);
    await output.finish();
    await output.publish();
    const file = await openSafetensorsFile(join(target, layout.places.get('b')!.file));
    expect(await file.tensors.get('b')!.source.read(0, 100)).toEqual(new Uint8Array(100).fill(9));
    await file.close();
  });

  it('resumes after a close, after a kill inside of finish, and gives the same bytes', async () => {
    const first = await openOutput(target, layout);
    await first.write('a', 0, content('a', 100));
    await first.sync();
    await first.close();
    const second = await openOutput(target, layout, { mode: 'resume' });
    expect(second.resumed).toBe(true);
    await second.write('b', 0, content('b', 100));
    await second.write('c', 0, content('c', 8));
    await second.finish();
    // As if it had been killed there: one file under its final name, one still partial, no index.
    const [one] = layout.files;
    const { workingDirectory: work } = second;
    unlinkSync(join(work, layout.index!.name));
    execFileSync('mv', [join(work, one!.name), join(work, `${one!.name}.partial`)]);
    const third = await openOutput(target, layout, { mode: 'either' });
    await third.write('c', 0, content('c', 8));
    await third.finish();
    await third.publish();
    const other = await openOutput(join(root, 'undisturbed'), layout);
    await writeAll(other);
    await other.finish();
    await other.publish();
    for (const name of readdirSync(other.directory)) {
      expect(readFileSync(join(target, name)).equals(readFileSync(join(other.directory, name))), name).toBe(true);
    }
  });

  it('creates what a run did not come to, and trusts no half-made file', async () => {
    const first = await openOutput(target, layout);
    await first.close();
    const name = join(first.workingDirectory, `${layout.files[1]!.name}.partial`);
    unlinkSync(name);
    writeFileSync(`${name}.new`, 'half');
    const second = await openOutput(target, layout, { mode: 'resume' });
    await writeAll(second);
    await second.finish();
    await second.publish();
    expect(readdirSync(target).sort()).toEqual([...layout.files.map((file) => file.name), layout.index!.name].sort());
  });

  it('keeps to its mode', async () => {
    await expect(openOutput(target, layout, { mode: 'resume' })).rejects.toEqual(expectCode('OUTPUT_WORK_MISSING'));
    const output = await openOutput(target, layout, { mode: 'either' });
    await output.close();
    await expect(openOutput(target, layout)).rejects.toEqual(expectCode('OUTPUT_WORK_EXISTS'));
    writeFileSync(join(root, 'x.partial'), '');
    await expect(openOutput(join(root, 'x'), layout, { mode: 'either' })).rejects.toEqual(
      expectCode('OUTPUT_WORK_EXISTS'),
    );
  });

  it('refuses to resume files of another layout', async () => {
    const output = await openOutput(target, layout);
    await output.close();
    const other = planOutput([{ ...tensors[0]!, dtype: 'i8' }, ...tensors.slice(1)], { shardBytes: 150 });
    await expect(openOutput(target, other, { mode: 'resume' })).rejects.toThrow(
      /its header differs.*remove the directory/,
    );
    const path = join(output.workingDirectory, `${layout.files[0]!.name}.partial`);
    truncateSync(path, 50);
    await expect(openOutput(target, layout, { mode: 'resume' })).rejects.toThrow(/its size differs/);
    unlinkSync(path);
    symlinkSync('/etc/hostname', path);
    await expect(openOutput(target, layout, { mode: 'resume' })).rejects.toThrow(/not a file/);
  });

  it('refuses an output that exists, and takes an empty directory', async () => {
    mkdirSync(target);
    const output = await openOutput(target, layout);
    writeFileSync(join(target, 'something'), '');
    await writeAll(output);
    await output.finish();
    await expect(output.publish()).rejects.toEqual(expectCode('OUTPUT_EXISTS'));
    expect(readdirSync(target)).toEqual(['something']);
    unlinkSync(join(target, 'something'));
    await output.publish();
    expect(readdirSync(target).length).toBe(3);
    await expect(openOutput(target, layout)).rejects.toThrow(/must not exist yet.*choose another name/);
    writeFileSync(join(root, 'file'), '');
    await expect(openOutput(join(root, 'file'), layout)).rejects.toEqual(expectCode('OUTPUT_EXISTS'));
    symlinkSync('/nonexistent', join(root, 'link'));
    await expect(openOutput(join(root, 'link'), layout)).rejects.toEqual(expectCode('OUTPUT_EXISTS'));
  });

  it('refuses before any work what the disk has no room for', async () => {
    disk.free = 512;
    await expect(openOutput(target, planOutput([{ name: 'a', dtype: 'u8', shape: [4096] }]))).rejects.toThrow(
      /must have \d+ bytes free, it has 512/,
    );
    expect(readdirSync(root)).toEqual([]);
  });

  it.skipIf(!existsSync('/dev/full'))('tells a disk that fills up while it writes, and stays resumable', async () => {
    const output = await openOutput(target, layout);
    const { path } = output.location('a');
    unlinkSync(path);
    symlinkSync('/dev/full', path);
    await expect(output.write('a', 0, content('a', 100))).rejects.toThrow(/full; free some space.*resume/);
    await expect(output.write('a', 0, content('a', 100))).rejects.toEqual(expectCode('OUTPUT_DISK_FULL'));
    await output.close();
    expect(existsSync(target)).toBe(false);
  });

  it.skipIf(process.getuid?.() === 0)('tells a directory that cannot be written to', async () => {
    chmodSync(root, 0o500);
    await expect(openOutput(target, layout)).rejects.toEqual(expectCode('OUTPUT_NOT_WRITABLE'));
    chmodSync(root, 0o700);
  });

  it.skipIf(!existsSync('/sys/kernel'))('tells a read-only file system', async () => {
    await expect(openOutput('/sys/kernel/model', layout)).rejects.toEqual(
      expect.objectContaining({ code: expect.stringMatching(/^OUTPUT_(NOT_WRITABLE|DISK_FULL)$/) as string }),
    );
  });

  it('tells a parent that is missing', async () => {
    await expect(openOutput(join(root, 'no', 'such', 'model'), layout)).rejects.toThrow(/must exist.*create it first/);
  });

  it('refuses bytes outside of a tensor, unknown tensors and names that lead elsewhere', async () => {
    const output = await openOutput(target, layout);
    await expect(output.write('a', 99, new Uint8Array(2))).rejects.toEqual(expectCode('OUTPUT_RANGE'));
    await expect(output.write('a', -1, new Uint8Array(1))).rejects.toEqual(expectCode('OUTPUT_RANGE'));
    await expect(output.write('a', 0.5, new Uint8Array(1))).rejects.toEqual(expectCode('OUTPUT_RANGE'));
    expect(() => output.location('zzz')).toThrow(expectCode('OUTPUT_UNKNOWN_TENSOR'));
    for (const name of [
      '',
      '.',
      '..',
      '../x',
      'a/b',
      'a\\b',
      layout.files[0]!.name,
      `${layout.files[0]!.name}.partial`,
    ]) {
      await expect(output.writeFile(name, ''), name).rejects.toEqual(expectCode('OUTPUT_NAME_INVALID'));
      await expect(output.copyFile('/etc/hostname', name), name).rejects.toEqual(expectCode('OUTPUT_NAME_INVALID'));
    }
    await output.discard();
    expect(readdirSync(root)).toEqual([]);
    await expect(output.write('a', 0, new Uint8Array(1))).rejects.toEqual(expectCode('OUTPUT_STATE'));
  });

  it('needs finish before publish, and notices a file that was cut in between', async () => {
    const output = await openOutput(target, layout);
    await expect(output.publish()).rejects.toEqual(expectCode('OUTPUT_STATE'));
    truncateSync(output.location('a').path, 10);
    await expect(output.finish()).rejects.toEqual(expectCode('OUTPUT_LAYOUT_DIFFERS'));
    unlinkSync(output.location('a').path);
    await expect(output.finish()).rejects.toEqual(expectCode('OUTPUT_FILE_LOST'));
  });

  it('copies files byte for byte and without their permissions, also over an earlier copy', async () => {
    const output = await openOutput(target, layout);
    const source = join(root, 'tokenizer.json');
    const bytes = content('t', 3_000_000);
    writeFileSync(source, bytes, { mode: 0o400 });
    await output.copyFile(source, 'tokenizer.json');
    await output.copyFile(source, 'tokenizer.json');
    const copy = join(output.workingDirectory, 'tokenizer.json');
    expect(readFileSync(copy).equals(bytes)).toBe(true);
    expect(statSync(copy).mode & 0o200).toBe(0o200);
  });

  it('can be stopped between files', async () => {
    const output = await openOutput(target, layout);
    await expect(output.finish({ signal: AbortSignal.abort() })).rejects.toEqual(expectCode('STOPPED'));
    await writeAll(output);
    await output.finish();
  });

  it('places its working directory beside the output', () => {
    expect(workingDirectoryOf(`${target}/`)).toBe(`${target}.partial`);
  });
});

describe('outputError', () => {
  it.each([
    ['ENOSPC', 'OUTPUT_DISK_FULL'],
    ['EDQUOT', 'OUTPUT_DISK_FULL'],
    ['EROFS', 'OUTPUT_NOT_WRITABLE'],
    ['EACCES', 'OUTPUT_NOT_WRITABLE'],
    ['ENOENT', 'OUTPUT_NO_DIRECTORY'],
    ['EFBIG', 'OUTPUT_FILE_TOO_LARGE'],
    ['EIO', 'OUTPUT_WRITE_FAILED'],
  ])('%s is %s', (systemCode, code) => {
    const error = outputError(Object.assign(new Error('x'), { code: systemCode }), 'write', '/p');
    expect(error).toMatchObject({ code, details: { path: '/p', systemCode } });
    expect(outputError(error, 'again', '/q')).toBe(error);
  });
});

describe('a process that is killed', () => {
  /** One run from the start or from what is there, to the end. */
  const run = async (directory: string): Promise<void> => {
    const output = await openOutput(directory, layout, { mode: 'either' });
    try {
      await writeAll(output);
      await output.writeFile('config.json', '{"a": 1}');
      await output.finish();
      await output.publish();
    } finally {
      await output.close();
    }
  };

  it('at any change that it makes to the disk resumes to the same bytes, and never looks finished', async () => {
    const undisturbed = join(root, 'undisturbed');
    disk.changesLeft = 1_000_000;
    await run(undisturbed);
    const changes = 1_000_000 - disk.changesLeft;
    const expected = readdirSync(undisturbed).map((name) => [name, readFileSync(join(undisturbed, name), 'hex')]);
    expect(changes).toBeGreaterThan(20);
    for (let last = 0; last < changes; last += 1) {
      const directory = join(root, `killed-${last}`);
      disk.changesLeft = last;
      await expect(run(directory), `${last} changes`).rejects.toThrow();
      expect(existsSync(directory), `${last} changes`).toBe(false);
      // A second death on the way, then a run that ends.
      disk.changesLeft = Math.floor(last / 2);
      await run(directory).catch(() => undefined);
      disk.changesLeft = Number.POSITIVE_INFINITY;
      if (!existsSync(directory)) await run(directory);
      const found = readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), 'hex')]);
      expect(found, `${last} changes`).toEqual(expected);
    }
  });
});
