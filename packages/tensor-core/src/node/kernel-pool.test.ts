import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
  chmodSync,
  existsSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { toF32Reference } from '../dtype/convert-reference.ts';
import { MAX_OPEN_FILES } from './file-cache.js';
import type { JobStep } from './kernel-job.ts';
import {
  createKernelPool,
  SERIAL_JOB_BYTES,
  WorkerPool,
  type KernelPool,
  type KernelPoolOptions,
} from './kernel-pool.ts';

let folder = '';
const pools: KernelPool[] = [];
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'pith-pool-'))));
afterEach(async () => void (await Promise.all(pools.splice(0).map((pool) => pool.dispose()))));
afterAll(() => rmSync(folder, { recursive: true }));

function pool(options: KernelPoolOptions = { threads: 2 }): KernelPool {
  const made = createKernelPool(options);
  pools.push(made);
  return made;
}

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const pattern = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe.each([0, 1, 3])('a pool of %i threads', (threads) => {
  it('ends a job whose kernel returns what it should not, before the steps after it', async () => {
    const workers = pool({ threads });
    const target = file('unwritten', new Uint8Array(4));
    const codes = workers.allocate(8);
    codes.i8.fill(100);
    const steps: JobStep[] = [
      { op: 'call', kernel: 'packCodes', args: [codes.at, codes.at, 1, 8, 4], expect: 0 },
      { op: 'write', path: target, offset: 0, length: 4, at: codes.at },
    ];
    await expect(workers.run(steps)).rejects.toMatchObject({ code: 'KERNEL_RESULT', details: { step: 0 } });
    expect(readFileSync(target)).toEqual(Buffer.alloc(4));
  });

  it('reads, calls kernels, hashes and writes in one job', async () => {
    const workers = pool({ threads });
    const values = pattern(1000);
    const source = file('in', Uint8Array.from([...new Uint8Array(24), ...values]));
    const target = file('out', new Uint8Array(8));
    const input = workers.allocate(1000);
    const output = workers.allocate(2000);
    const results = await workers.run([
      { op: 'read', path: source, offset: 24, length: 1000, at: input.at },
      { op: 'sha256', at: input.at, length: 1000 },
      { op: 'call', kernel: 'bf16ToF32', args: [input.at, output.at, 500] },
      { op: 'call', kernel: 'packCodes', args: [input.at, output.at + 2000 - 64, 1, 8, 2] },
      { op: 'write', path: target, offset: 8, length: 2000 - 64, at: output.at },
    ]);
    expect(results).toEqual([1000, sha256(values), 0, 1, 1936]);
    const expected = new Uint8Array(toF32Reference('bf16', values).buffer).subarray(0, 1936);
    expect(Buffer.from(input.u8).equals(Buffer.from(values))).toBe(true);
    expect(readFileSync(target).subarray(8).equals(expected)).toBe(true);
  });

  it('gives the same bytes as any other number of threads', async () => {
    const workers = pool({ threads });
    const source = file(`many-${threads}`, pattern(64 * 100));
    const target = file(`many-out-${threads}`, new Uint8Array(0));
    const regions = Array.from({ length: 4 }, () => workers.allocate(64 + 128));
    await Promise.all(
      regions.map(async (region, lane) => {
        for (let part = lane; part < 100; part += 4) {
          await workers.run([
            { op: 'read', path: source, offset: part * 64, length: 64, at: region.at },
            { op: 'call', kernel: 'f16ToF32', args: [region.at, region.at + 64, 32] },
            { op: 'write', path: target, offset: part * 128, length: 128, at: region.at + 64 },
          ]);
        }
      }),
    );
    expect(readFileSync(target).equals(new Uint8Array(toF32Reference('f16', pattern(6400)).buffer))).toBe(true);
  });

  it('names the step and the file of a failure', async () => {
    const workers = pool({ threads });
    const { at } = workers.allocate(100);
    const path = file('short', new Uint8Array(50));
    const failure = (steps: JobStep[]) => expect(workers.run(steps)).rejects;
    await failure([
      { op: 'sha256', at, length: 1 },
      { op: 'read', path, offset: 20, length: 40, at },
    ]).toMatchObject({
      name: 'PithError',
      code: 'FILE_TRUNCATED',
      kind: 'input',
      message: `read ${path}: 40 bytes from offset 20 were expected, got 30; the file is shorter than it was: fetch it again`,
      details: { step: 1, op: 'read', path, offset: 20, length: 40, got: 30 },
    });
    const absent = join(folder, 'absent');
    await failure([{ op: 'read', path: absent, offset: 0, length: 1, at }]).toMatchObject({
      code: 'FILE_READ_FAILED',
      details: { step: 0, path: absent, errno: 'ENOENT' },
    });
    await failure([{ op: 'write', path: absent, offset: 0, length: 1, at }]).toMatchObject({
      code: 'FILE_WRITE_FAILED',
      details: { path: absent, errno: 'ENOENT' },
    });
    mkdirSync(join(folder, `directory-${threads}`));
    await failure([
      { op: 'write', path: join(folder, `directory-${threads}`), offset: 0, length: 1, at },
    ]).toMatchObject({
      code: 'FILE_WRITE_FAILED',
      message: expect.stringContaining('a directory'),
      details: { errno: 'EISDIR' },
    });
    await failure([{ op: 'call', kernel: 'nothing' as 'staticEnd', args: [] }]).toMatchObject({
      code: 'KERNEL_UNKNOWN',
      details: { step: 0, kernel: 'nothing' },
    });
    await failure([{ op: 'call', kernel: 'bf16ToF32', args: [2 ** 31, at, 8] }]).toMatchObject({
      code: 'KERNEL_FAILED',
      kind: 'internal',
      message: expect.stringContaining('step 0 (bf16ToF32) failed: memory access out of bounds'),
    });
    for (const [from, length] of [
      [2 ** 32, 1],
      [-1, 1],
      [at, 2 ** 31],
      [0.5, 1],
      [NaN, 1],
    ] as const) {
      await failure([{ op: 'sha256', at: from, length }]).toMatchObject({ code: 'KERNEL_MEMORY_RANGE' });
    }
    expect(await workers.run([{ op: 'call', kernel: 'staticEnd', args: [] }])).toHaveLength(1); // still works
  });

  it.skipIf(process.platform !== 'linux' || !existsSync('/dev/full'))('names a full disk', async () => {
    const workers = pool({ threads });
    const { at } = workers.allocate(100);
    await expect(workers.run([{ op: 'write', path: '/dev/full', offset: 0, length: 100, at }])).rejects.toMatchObject({
      code: 'FILE_WRITE_FAILED',
      message: expect.stringContaining('failed with ENOSPC; the disk is full'),
      details: { errno: 'ENOSPC', path: '/dev/full' },
    });
  });

  it.skipIf(process.getuid?.() === 0)('names a missing permission', async () => {
    const workers = pool({ threads });
    const path = file('locked', new Uint8Array(4));
    chmodSync(path, 0o400);
    await expect(workers.run([{ op: 'write', path, offset: 0, length: 0, at: 65536 }])).rejects.toMatchObject({
      details: { errno: 'EACCES' },
    });
  });

  it('refuses work after a stop, and after dispose', async () => {
    const workers = pool({ threads });
    await expect(workers.run([], { signal: AbortSignal.abort('why') })).rejects.toMatchObject({
      code: 'STOPPED',
      kind: 'stopped',
    });
    await workers.dispose();
    await workers.dispose();
    await expect(workers.run([])).rejects.toMatchObject({ code: 'KERNEL_POOL_DISPOSED' });
    expect(() => workers.allocate(1)).toThrow(expect.objectContaining({ code: 'KERNEL_POOL_DISPOSED' }));
  });
});

describe('reading before the rest of a job', () => {
  it('counts the steps of a failure from the first', async () => {
    const workers = pool({ threads: 1 });
    const { at } = workers.allocate(100);
    const read: JobStep = { op: 'read', path: file('whole', new Uint8Array(50)), offset: 0, length: 50, at };
    const absent: JobStep = { op: 'write', path: join(folder, 'absent'), offset: 0, length: 1, at };
    const tooLong: JobStep = { ...read, offset: 20 };
    await expect(workers.run([read, read, absent])).rejects.toMatchObject({ details: { step: 2, op: 'write' } });
    await expect(workers.run([read, tooLong, absent])).rejects.toMatchObject({ details: { step: 1, got: 30 } });
    expect(await workers.run([read, read])).toEqual([50, 50]);
    await expect(workers.run([{ ...read, at: 2 ** 32 }])).rejects.toMatchObject({ code: 'KERNEL_MEMORY_RANGE' });
  });

  it.skipIf(!existsSync('/proc/self/fd'))('keeps files open until they are closed, many or not', async () => {
    const count = () => readdirSync('/proc/self/fd').length;
    const workers = pool({ threads: 2 });
    const { at } = workers.allocate(100);
    await workers.run([{ op: 'sha256', at, length: 1 }]); // threads have pipes
    const before = count();
    const paths = Array.from({ length: 90 }, (_, i) => file(`many-${i}`, Uint8Array.of(i)));
    const step = (path: string, i: number): JobStep => ({ op: 'read', path, offset: 0, length: 1, at: at + i });
    for (const path of paths) await workers.run([step(path, 0)]);
    expect(count() - before).toBeLessThanOrEqual(MAX_OPEN_FILES);
    await Promise.all([...paths.map((path, i) => workers.run([step(path, i)])), workers.closeFiles()]);
    await workers.closeFiles();
    expect(count()).toBe(before);
  });

  it('takes many jobs with one signal without a warning, and stops them', async () => {
    const warnings: Error[] = [];
    const warn = (warning: Error) => void warnings.push(warning);
    process.on('warning', warn);
    const workers = pool({ threads: 4 });
    const { at } = workers.allocate(100);
    const { signal } = new AbortController();
    const steps: JobStep[] = [
      { op: 'read', path: file('one', new Uint8Array(100)), offset: 0, length: 100, at },
      { op: 'sha256', at, length: 100 },
    ];
    await Promise.all(Array.from({ length: 40 }, () => workers.run(steps, { signal })));
    const stop = new AbortController();
    const stopped = Array.from({ length: 40 }, () => workers.run(steps, { signal: stop.signal }));
    stop.abort();
    const outcomes = await Promise.allSettled(stopped);
    expect(outcomes.every((o) => o.status === 'rejected' && o.reason.code === 'STOPPED')).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 10));
    process.off('warning', warn);
    expect(warnings).toEqual([]);
  });
});

describe('stopping', () => {
  it('takes queued jobs out, ends the running one between steps, and leaves the pool usable', async () => {
    const workers = pool({ threads: 1 });
    const { at } = workers.allocate(1 << 20);
    const stop = new AbortController();
    const step: JobStep = { op: 'sha256', at, length: 1 << 20 };
    const long = workers.run(new Array<JobStep>(20_000).fill(step), { signal: stop.signal });
    const queued = workers.run([step], { signal: stop.signal });
    const other = workers.run([step]);
    setTimeout(() => stop.abort(), 20);
    await expect(queued).rejects.toMatchObject({ code: 'STOPPED' });
    await expect(long).rejects.toMatchObject({ code: 'STOPPED' });
    expect(await other).toEqual([sha256(new Uint8Array(1 << 20))]);
  });

  it('fails the queue and finishes the running job on dispose', async () => {
    const workers = createKernelPool({ threads: 1 });
    const { at } = workers.allocate(1 << 20);
    const running = workers.run(new Array<JobStep>(20).fill({ op: 'sha256', at, length: 1 << 20 }));
    const queued = workers.run([]);
    const refused = expect(queued).rejects.toMatchObject({ code: 'KERNEL_POOL_DISPOSED' });
    await workers.dispose();
    await refused;
    expect(await running).toHaveLength(20);
  });
});

describe('the death of a worker', () => {
  it.each([
    [1, 'ended with exit code 7'],
    [2, 'ended with TypeError: thrown in the worker'],
  ])('fails its job and no other (%i)', async (steps, message) => {
    const workers = new WorkerPool({ threads: 1 }, new URL('../../test/dying-worker.js', import.meta.url));
    pools.push(workers);
    const step: JobStep = { op: 'sha256', at: 0, length: 0 };
    const deadly = workers.run(new Array<JobStep>(steps).fill(step));
    const queued = workers.run([]);
    await expect(deadly).rejects.toMatchObject({
      code: 'KERNEL_WORKER_DIED',
      message: expect.stringContaining(message),
    });
    expect(await queued).toEqual([]); // a new thread took it
    await workers.closeFiles();
  });

  it('fails a job whose steps cannot be posted', async () => {
    const workers = pool({ threads: 1 });
    const bad = { op: 'call', kernel: 'staticEnd', args: [() => 1] } as unknown as JobStep;
    await expect(workers.run([bad])).rejects.toMatchObject({ code: 'KERNEL_JOB_INVALID' });
    expect(await workers.run([])).toEqual([]);
  });
});

describe('memory', () => {
  it('grows up to its cap, also under running workers', async () => {
    const workers = pool({ threads: 1, maxBytes: 4 << 20 });
    expect(workers.memoryBytes).toBe(65536);
    const first = workers.allocate(1 << 20);
    first.u8.set(pattern(1 << 20));
    expect(await workers.run([{ op: 'sha256', at: first.at, length: 1 << 20 }])).toEqual([sha256(pattern(1 << 20))]);
    const second = workers.allocate(2 << 20);
    second.f32.fill(1.5);
    const ones = new Uint8Array(new Float32Array(1 << 19).fill(1.5).buffer);
    expect(await workers.run([{ op: 'sha256', at: second.at, length: 2 << 20 }])).toEqual([sha256(ones)]);
    expect(first.u8[12345]).toBe(pattern(12346)[12345]);
    expect(() => workers.allocate(1 << 20)).toThrow(
      expect.objectContaining({
        code: 'KERNEL_MEMORY_EXHAUSTED',
        details: expect.objectContaining({ bytes: 1 << 20 }),
      }),
    );
    workers.free(first);
    expect(workers.allocate(1 << 20).at).toBe(first.at);
    expect(() => workers.free({ ...second, at: 99 } as typeof second)).toThrow('is not in use');
  });

  it('gives typed views of a region', () => {
    const workers = pool({ threads: 0 });
    const region = workers.allocate(13);
    expect(region.at % 16).toBe(0);
    const lengths = [region.u8, region.i8, region.u16, region.i32, region.u32, region.f32, region.f64];
    expect(lengths.map((view) => view.length)).toEqual([13, 13, 6, 3, 3, 3, 1]);
    region.i32[0] = -2;
    expect([...region.u8.subarray(0, 4)]).toEqual([254, 255, 255, 255]);
  });

  it('refuses options that make no sense', () => {
    for (const options of [{ threads: -1 }, { threads: 1.5 }, { maxBytes: 10 }, { maxBytes: 2 ** 32 + 1 }]) {
      expect(() => createKernelPool(options)).toThrow(expect.objectContaining({ code: 'KERNEL_POOL_OPTION' }));
    }
    const workers = pool({ threads: 0 });
    expect(() => workers.allocate(-1)).toThrow(expect.objectContaining({ code: 'KERNEL_POOL_OPTION' }));
  });
});

describe('files', () => {
  const openFiles = () => readdirSync('/proc/self/fd').length;

  it.skipIf(process.platform !== 'linux')('stay open between jobs, within a cap, until closeFiles', async () => {
    const workers = pool({ threads: 1 });
    const { at } = workers.allocate(64);
    const paths = Array.from({ length: MAX_OPEN_FILES + 10 }, (_, i) => file(`cached-${i}`, pattern(i + 1)));
    await workers.run([]); // the thread is up
    const before = openFiles();
    const read = (index: number): JobStep => ({ op: 'read', path: paths[index]!, offset: 0, length: index + 1, at });
    await workers.run([read(0)]);
    await workers.run([read(0), read(0)]);
    expect(openFiles()).toBe(before + 1);
    for (let i = 1; i < paths.length; i++) await workers.run([read(i)]);
    expect(openFiles()).toBe(before + MAX_OPEN_FILES);
    await workers.run([read(0)]); // was closed: opens again
    await workers.closeFiles();
    expect(openFiles()).toBe(before);
  });

  it('runs small jobs on the calling thread', async () => {
    const workers = pool({ threads: 1 });
    const { at, u8 } = workers.allocate(16);
    u8.fill(0);
    let settled = false;
    const small = workers.run([{ op: 'sha256', at, length: 16 }], { bytes: 16 }).then(() => (settled = true));
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
    expect(settled).toBe(true); // no thread could have answered within a few microtasks
    await small;
    expect(SERIAL_JOB_BYTES).toBe(65536);
  });
});

describe('near', () => {
  it('runs on memory of its own that is an ordinary buffer, kept for the next time', async () => {
    const shared = pool({ threads: 2 });
    const buffers = await Promise.all(
      [1, 2].map(() =>
        shared.near(1000, async (near) => {
          const [source, target] = [near.allocate(64), near.allocate(64)];
          source.u16.set([0x3f80, 0x4000]);
          await near.run([{ op: 'call', kernel: 'bf16ToF32', args: [source.at, target.at, 2] }]);
          expect([...target.f32.subarray(0, 2)]).toEqual([1, 2]);
          near.free(source);
          near.free(target);
          return target.f32.buffer;
        }),
      ),
    );
    // The first has it in hand when the second asks: that one gets the pool itself.
    expect(buffers.map((buffer) => buffer instanceof ArrayBuffer)).toEqual([true, false]);
    expect(await shared.near(1000, (near) => Promise.resolve(near.allocate(64).f32.buffer))).toBe(buffers[0]);
  });

  it('is the pool itself where it has many threads or little memory', async () => {
    for (const options of [{ threads: 3 }, { threads: 1, maxBytes: 2 ** 20 }]) {
      const own = pool(options);
      expect(await own.near(2 ** 21, (near) => Promise.resolve(near === own))).toBe(true);
    }
  });

  it('refuses what does not fit, frees once, stops, and passes failures on', async () => {
    const own = pool({ threads: 1 });
    await own.near(0, async (near) => {
      expect(() => near.allocate(2 ** 30)).toThrow(/do not fit/);
      const region = near.allocate(64);
      near.free(region);
      expect(() => near.free(region)).toThrow(/not in use/);
      await expect(near.run([], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'STOPPED' });
      const step = { op: 'read', path: join(folder, 'none'), offset: 0, length: 1, at: region.at } as const;
      await expect(near.run([step])).rejects.toMatchObject({ code: 'FILE_READ_FAILED' });
      await near.dispose();
    });
    await expect(own.near(0, () => Promise.reject(new Error('inside')))).rejects.toThrow('inside');
    expect(await own.near(0, (near) => Promise.resolve(near === own))).toBe(false);
  });
});

describe('built', () => {
  it('works from plain JavaScript, and an idle pool that nobody disposed lets the process end', async () => {
    const entry = transpile(join(import.meta.dirname, 'kernel-pool.ts'), join(import.meta.dirname, '..'), folder);
    const program = join(folder, 'program.mjs');
    writeFileSync(
      program,
      `import { createKernelPool } from ${JSON.stringify(pathToFileURL(entry).href)};
       const pool = createKernelPool({ threads: 2 });
       const { at } = pool.allocate(64);
       const [hash] = await pool.run([{ op: 'sha256', at, length: 0 }]);
       process.stdout.write(hash.slice(0, 8));`,
    );
    const { stdout } = await promisify(execFile)(process.execPath, [program], { timeout: 30_000 });
    expect(stdout).toBe('e3b0c442');
  });
});

/** What the build makes of a file and of all that it imports, in `target`; returns the path of the file there. */
function transpile(path: string, root: string, target: string): string {
  const queue = [path];
  for (const source of queue) {
    const text = readFileSync(source, 'utf8');
    const compilerOptions = {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      rewriteRelativeImportExtensions: true,
    };
    const output = join(target, relative(root, source)).replace(/\.ts$/, '.js');
    mkdirSync(dirname(output), { recursive: true });
    writeFileSync(output, ts.transpileModule(text, { compilerOptions, fileName: source }).outputText);
    const imports = [...text.matchAll(/(?:from|import\() ?'(\.[^']+)'|new URL\('(\.[^']+)'/g)];
    const found = imports.map((match) => join(dirname(source), match[1] ?? match[2]!));
    queue.push(...found.filter((name) => !queue.includes(name)));
  }
  writeFileSync(join(target, 'package.json'), '{ "type": "module" }');
  return join(target, relative(root, path)).replace(/\.ts$/, '.js');
}
