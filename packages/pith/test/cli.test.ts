// The built command line, as a user runs it.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fileHashes } from '../src/testing/files.fixture.ts';
import { writeSyntheticModel } from '../src/testing/synthetic-model.fixture.ts';
import { quantize } from '../src/run/quantize.ts';
import { version } from '../src/version.ts';
import { main, pith, program, start, startPith } from './built.ts';
import { staticImports } from './static-imports.ts';

let root: string;
let model: string;
let directory: string;
let output: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-cli-'));
  model = join(root, 'model');
  writeSyntheticModel(model);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  directory = mkdtempSync(join(root, 'run-'));
  output = join(directory, 'out');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

interface Failure {
  readonly error: { readonly code: string; readonly message: string; readonly details: Record<string, unknown> };
}
const failureOf = (stdout: string) => (JSON.parse(stdout) as Failure).error;

describe('the program', () => {
  it('is executable and says its version', () => {
    expect(execFileSync(program, ['--version'], { encoding: 'utf8' })).toBe(`${version}\n`);
  });

  it('goes on when nobody reads what it prints any more', async () => {
    const { child, ended } = startPith(['quantize', model, '-o', output, '--scheme', 'w4g32']);
    child.stdout!.destroy();
    child.stderr!.destroy();
    expect((await ended).status).toBe(0);
    expect((await pith('verify', output)).status).toBe(0);
  });

  it.skipIf(!existsSync('/dev/full'))(
    'says that its result could not be written, and goes on without a log',
    async () => {
      const full = openSync('/dev/full', 'w');
      const work = startPith(['quantize', model, '-o', output, '--scheme', 'w4g32'], {
        stdio: ['ignore', full, 'pipe'],
      });
      const { status, stderr } = await work.ended;
      expect({ status, stderr }).toEqual({
        status: 2,
        stderr: expect.stringMatching(/^error write result: .*ENOSPC.*\n$/),
      });
      expect((await pith('verify', output)).status).toBe(0);
      rmSync(output, { recursive: true });
      const quiet = startPith(['quantize', model, '-o', output, '--scheme', 'w4g32', '--json'], {
        stdio: ['ignore', 'pipe', full],
      });
      expect((await quiet.ended).status).toBe(0);
      closeSync(full);
    },
  );

  it('leaves nothing in the temporary directory and the home of the user, nor does the runtime', async () => {
    const home = join(directory, 'home');
    mkdirSync(home);
    const env = { ...process.env, TMPDIR: home, HOME: home, XDG_CACHE_HOME: home };
    const { status, stdout } = await startPith(['doctor'], { env }).ended;
    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining('onnxruntime  computes') });
    expect(readdirSync(home)).toEqual([]);
  });

  it('loads nothing but commander before a command runs', () => {
    expect([...staticImports(main)].filter((name) => !name.startsWith('node:'))).toEqual(['commander']);
  });

  it('plans and quantizes without onnxruntime', () => {
    for (const entry of ['inspect/inspect.js', 'plan/plan.js', 'run/quantize.js', 'verify/verify.js']) {
      const imports = staticImports(join(main, '../..', entry));
      expect(imports, entry).toContain('zod');
      expect(imports, entry).not.toContain('onnxruntime-node');
    }
  });
});

describe('quantize', () => {
  it('prints one JSON document and keeps everything else on stderr', async () => {
    const { status, stdout, stderr } = await pith('quantize', model, '-o', output, '--scheme', 'w4g64', '--json');
    expect(status).toBe(0);
    const result = JSON.parse(stdout) as Record<string, unknown>;
    for (const key of [
      'output',
      'bytesBefore',
      'bytesAfter',
      'bitsPerWeight',
      'seconds',
      'peakMemoryBytes',
      'receipt',
    ]) {
      expect(result).toHaveProperty(key);
    }
    expect(stderr).toContain('bits per weight');
    const planned = await pith('plan', model, '--scheme', 'w4g64', '--json');
    const plan = JSON.parse(planned.stdout) as { bytesAfter: number; peakMemoryBytes: number };
    expect(plan.bytesAfter).toBe(result['bytesAfter']);
    expect(result['peakMemoryBytes']).toBeLessThan(plan.peakMemoryBytes);
  });

  it('is quiet when asked to', async () => {
    const { stdout, stderr } = await pith('quantize', model, '-o', output, '--quiet', '--json');
    expect(stderr).toBe('');
    expect(Object.keys(JSON.parse(stdout) as object)).toContain('receipt');
  });

  it('stops at Ctrl-C with status 3 and continues where it was', async () => {
    // A search over many candidates takes long enough to be caught in the middle.
    const args = ['quantize', model, '-o', output, '--scheme', 'w4g64', '--range', 'mse:candidates=300', '--json'];
    const { child, ended } = startPith(args);
    const journal = join(`${output}.pith-partial`, 'journal.jsonl');
    while (child.exitCode === null && !(existsSync(journal) && readFileSync(journal, 'utf8').split('\n').length > 3)) {
      await wait(5);
    }
    child.kill('SIGINT');
    const { status, stdout, stderr } = await ended;
    expect({ status, stderr }).toMatchObject({ status: 3 });
    expect(failureOf(stdout).code).toBe('STOPPED');
    expect(stderr).toContain('press Ctrl-C again');
    expect(existsSync(output)).toBe(false);
    const again = await pith(...args);
    expect(again.status).toBe(0);
    expect(again.stderr).toContain('Continuing a run that was stopped');
    const undisturbed = join(directory, 'other');
    expect((await pith(...args.map((arg) => (arg === output ? undisturbed : arg)))).status).toBe(0);
    expect(fileHashes(output)).toEqual(fileHashes(undisturbed));
  });

  it('refuses an output that exists, with status 2', async () => {
    mkdirSync(output);
    writeFileSync(join(output, 'mine'), '');
    const { status, stdout, stderr } = await pith('quantize', model, '-o', output, '--json');
    expect(status).toBe(2);
    expect(failureOf(stdout).code).toBe('OUTPUT_EXISTS');
    expect(stderr).toContain('OUTPUT_EXISTS');
    expect(readdirSync(directory)).toEqual(['out']);
  });

  it.skipIf(process.getuid?.() === 0)('refuses a directory that cannot be written', async () => {
    chmodSync(directory, 0o500);
    const { status, stdout } = await pith('quantize', model, '-o', output, '--json');
    chmodSync(directory, 0o700);
    expect(status).toBe(2);
    expect(failureOf(stdout).code).toBe('OUTPUT_NOT_WRITABLE');
  });

  it.skipIf(process.platform !== 'linux')(
    'ends a run whose disk refuses bytes, and continues when there is room',
    async () => {
      // A limit on the size of files stands for the full disk: writes fail in the middle of a run, as they do there.
      const shell = 'trap "" XFSZ; ulimit -f "$1"; shift; exec "$@"';
      const run = [process.execPath, main, 'quantize', model, '-o', output, '--scheme', 'w8', '--json'];
      const { status, stdout } = await start('bash', ['-c', shell, 'bash', '512', ...run]).ended;
      expect(status).toBe(2);
      expect(failureOf(stdout).message).toMatch(/EFBIG|larger|limit/);
      expect(existsSync(output)).toBe(false);
      expect((await start(process.execPath, run.slice(1)).ended).status).toBe(0);
      expect((await pith('verify', output)).status).toBe(0);
    },
  );
});

describe.skipIf(!canMount())('a full disk', () => {
  let disk: string;
  beforeEach(() => {
    disk = join(directory, 'disk');
    mkdirSync(disk);
  });
  afterEach(() => execFileSync('umount', [disk]));
  const mount = (size: string, ...flags: string[]): void => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', [`size=${size}`, ...flags].join(), 'tmpfs', disk]);
  };

  it('is refused before any work', async () => {
    mount('1m');
    const { status, stdout } = await pith('quantize', model, '-o', join(disk, 'out'), '--scheme', 'w8', '--json');
    expect(status).toBe(2);
    expect(failureOf(stdout).code).toBe('OUTPUT_DISK_FULL');
    expect(existsSync(join(disk, 'out'))).toBe(false);
  });

  it('that fills up in the middle stops the run, which continues when there is room', async () => {
    mount('16m');
    const filler = join(disk, 'filler');
    const onPlan = (): void => {
      const { bavail, bsize } = statfsSync(disk);
      writeFileSync(filler, Buffer.alloc(bavail * bsize - 200_000));
    };
    const out = join(disk, 'out');
    await expect(quantize(model, { output: out, scheme: 'w8', onPlan })).rejects.toMatchObject({
      kind: 'input',
      message: expect.stringContaining('ENOSPC') as string,
    });
    expect(existsSync(out)).toBe(false);
    rmSync(filler);
    const { status, stderr } = await pith('quantize', model, '-o', out, '--scheme', 'w8');
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect((await pith('quantize', model, '-o', output, '--scheme', 'w8')).status).toBe(0);
    expect(fileHashes(out)).toEqual(fileHashes(output));
  });

  it('that is read-only is refused', async () => {
    mount('64m', 'ro');
    const { status, stdout } = await pith('quantize', model, '-o', join(disk, 'out'), '--json');
    expect(status).toBe(2);
    expect(failureOf(stdout).code).toBe('OUTPUT_NOT_WRITABLE');
  });
});

/** True where this process may mount a file system of its own. */
function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const probe = mkdtempSync(join(tmpdir(), 'pith-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', probe], { stdio: 'ignore' });
    execFileSync('umount', [probe]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe, { recursive: true });
  }
}

describe.skipIf(!hasShared)('stories260k', () => {
  it('at 8 bits for each channel reads back within half a percent of its perplexity', async () => {
    const source = shared('models/stories260k');
    const run = await pith('quantize', source, '-o', output, '--method', 'rtn', '--scheme', 'w8', '--json');
    expect(run.status).toBe(0);
    // The first windows are enough, and quick.
    const text = join(directory, 'text.txt');
    writeFileSync(text, readFileSync(shared('data/stories-eval.txt'), 'utf8').slice(0, 20_000));
    const { status, stdout } = await pith(
      'eval',
      output,
      '--data',
      text,
      '--context',
      '256',
      '--reference',
      source,
      '--json',
      '--quiet',
    );
    expect(status).toBe(0);
    const result = JSON.parse(stdout) as Record<string, number>;
    expect(result['perplexity']! / result['referencePerplexity']!).toBeLessThan(1.005);
    expect(result['top1Agreement']).toBeGreaterThan(0.97);
    expect(result['klP99']).toBeGreaterThanOrEqual(result['kl']!);
  });

  it('with groups of 64 is refused before any work, naming all five weights and what fits', async () => {
    const { status, stdout } = await pith(
      'quantize',
      shared('models/stories260k'),
      '-o',
      output,
      '--scheme',
      'w4g64',
      '--json',
    );
    expect(status).toBe(2);
    const { code, message, details } = failureOf(stdout);
    expect(code).toBe('PLAN_PROBLEMS');
    const names = [0, 1, 2, 3, 4].map((layer) => `model.layers.${layer}.mlp.down_proj.weight`);
    expect((details['problems'] as { name: string }[]).map(({ name }) => name)).toEqual(names);
    for (const name of names) expect(message).toContain(name);
    expect(message).toMatch(/172.*groups of 4, 43, 86, 172 divide/);
    expect(readdirSync(directory)).toEqual([]);
  });
});
