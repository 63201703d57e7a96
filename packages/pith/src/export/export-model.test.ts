import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openModel } from '@pith/model/node';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { cli } from '../cli/cli-host.fixture.ts';
import { readReceipt } from '../receipt/receipt.ts';
import { quantize } from '../run/quantize.ts';
import { fileHashes } from '../testing/files.fixture.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { verify } from '../verify/verify.ts';
import { exportModel, planExport } from './export-model.ts';
import type { ExportFormat } from './format.ts';
import { EXPORT_FORMATS, parseFormat } from './formats.ts';

let root: string;
let model: string;
let out: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'pith-export-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 1, hidden: 64, feedForward: 128 });
  await quantize(model, { output: join(root, 'small'), scheme: 'w4g32' });
});
afterAll(() => rmSync(root, { recursive: true }));
let count = 0;
const fresh = (name = 'out') => (out = join(root, `${count++}-${name}`));
afterEach(() => {
  // Nothing of the work is left, whatever happened.
  expect(readdirSync(root).filter((name) => name.includes('.pith-export'))).toEqual([]);
});

describe('parseFormat', () => {
  it('takes the first variant where none is named', () => {
    const { format, variant } = parseFormat('GGUF');
    expect([format.name, variant]).toEqual(['gguf', format.variants[0]]);
    expect(parseFormat('safetensors:BF16').variant).toBe('bf16');
  });

  it('names what is known, and what was probably meant', () => {
    expect(() => parseFormat('gguff:f16')).toThrow(/gguf, .*did you mean gguf\?/);
    expect(() => parseFormat('pickle')).toThrow(/known are gguf, /);
    expect(() => parseFormat('safetensors:b16')).toThrow(/variant of safetensors.*did you mean bf16\?/);
  });

  it('takes variants that a format accepts beside those that it lists', () => {
    const mlx = { name: 'mlx', variants: [], accepts: (variant: string) => /^\d$/.test(variant) };
    const formats = [mlx as unknown as ExportFormat];
    expect(parseFormat('mlx:4', formats).variant).toBe('4');
    expect(parseFormat('mlx', formats).variant).toBe('');
    expect(() => parseFormat('mlx:x', formats)).toThrow(/it has none/);
  });

  it('has formats that describe their variants', () => {
    for (const { name, variants, describe: words } of EXPORT_FORMATS) {
      for (const variant of variants) expect(words(variant), `${name}:${variant}`).not.toBe('');
    }
    expect(new Set(EXPORT_FORMATS.map(({ name }) => name)).size).toBe(EXPORT_FORMATS.length);
  });
});

describe('export to safetensors', () => {
  it('keeps a dense model byte for byte, tensor by tensor', async () => {
    const result = await exportModel(model, { format: 'safetensors', output: fresh(), threads: 1 });
    const [before, after] = [await openModel(model), await openModel(out)];
    expect([...after.weights.keys()].sort()).toEqual([...before.weights.keys()].sort());
    for (const [name, weight] of before.weights) {
      const other = after.weights.get(name)!;
      expect(other.kind === 'dense' && weight.kind === 'dense' && (await other.bytes())).toEqual(
        weight.kind === 'dense' && (await weight.bytes()),
      );
    }
    await before.close();
    await after.close();
    expect(result.bitsPerWeight).toBe(16);
    expect(result.files).toContain('config.json');
    expect(await verify(out)).toMatchObject({ ok: true, files: result.files.length });
  });

  it('restores a quantized model, in the dtype that is asked for', async () => {
    await exportModel(join(root, 'small'), { format: 'safetensors:f32', output: fresh() });
    const [small, dense] = [await openModel(join(root, 'small')), await openModel(out)];
    for (const [name, weight] of small.weights) {
      const other = dense.weights.get(name)!;
      expect([other.kind, other.kind === 'dense' && other.dtype]).toEqual(['dense', 'f32']);
      expect(await other.toF32()).toEqual(await weight.toF32());
    }
    await small.close();
    await dense.close();
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect('quantization_config' in config).toBe(false);
    expect(config['torch_dtype']).toBe('float32');
  });

  it('says in the plan what is written, to the byte', async () => {
    const plan = await planExport(join(root, 'small'), { format: 'safetensors:bf16', shardBytes: 50_000 });
    await exportModel(join(root, 'small'), { format: 'safetensors:bf16', shardBytes: 50_000, output: fresh() });
    const names = readdirSync(out).filter((name) => /safetensors/.test(name));
    expect(names.length).toBeGreaterThan(3);
    expect(names.reduce((sum, name) => sum + readFileSync(join(out, name)).length, 0)).toBe(plan.bytesAfter);
    expect(plan.tensors.find(({ name }) => name.endsWith('q_proj.weight'))).toMatchObject({ action: 'restore' });
  });
});

describe('what every export keeps to', () => {
  const paths = () => ({ file: fresh('x.gguf'), directory: fresh() });
  const tokenless = { format: 'gguf:f16' };

  it('refuses an output that exists, before any work, and replaces it when told to', async () => {
    const { directory } = paths();
    const options = { format: 'safetensors', output: directory };
    await exportModel(model, options);
    const before = fileHashes(directory);
    await expect(exportModel(model, options)).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' });
    await exportModel(model, { ...options, format: 'safetensors:f16', overwrite: true });
    expect(fileHashes(directory)).not.toEqual(before);
    expect((await readReceipt(directory)).options).toMatchObject({ format: 'safetensors:f16' });
  });

  it('does not replace a directory that Pith has not written', async () => {
    const stranger = join(root, 'model');
    await expect(
      exportModel(model, { format: 'safetensors', output: stranger, overwrite: true }),
    ).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' });
  });

  it('leaves nothing behind that looks finished when it is stopped or fails', async () => {
    const { directory, file } = paths();
    const stop = new AbortController();
    const stopped = exportModel(model, {
      format: 'safetensors:f32',
      output: directory,
      signal: stop.signal,
      progress: () => stop.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ code: 'STOPPED' });
    // This model has no tokenizer, which a GGUF file needs.
    await expect(exportModel(model, { ...tokenless, output: file })).rejects.toMatchObject({
      code: 'TOKENIZER_MISSING',
    });
    expect([existsSync(directory), existsSync(file)]).toEqual([false, false]);
  });

  it('writes the same bytes and the same receipt twice', async () => {
    const [first, second] = [fresh(), fresh()];
    const options = { format: 'safetensors:f16' };
    await exportModel(join(root, 'small'), { ...options, output: first, threads: 1 });
    await exportModel(join(root, 'small'), { ...options, output: second, threads: 2 });
    expect(fileHashes(first)).toEqual(fileHashes(second));
    expect((await readReceipt(first)).seal).toBe((await readReceipt(second)).seal);
  });

  it('tells what was changed after it was written', async () => {
    await exportModel(model, { format: 'safetensors', output: fresh() });
    appendFileSync(join(out, 'config.json'), ' ');
    writeFileSync(join(out, 'notes.txt'), '');
    const { problems } = await verify(out);
    expect(problems.map(({ kind, name }) => [kind, name])).toEqual([
      ['damaged', 'config.json'],
      ['extra', 'notes.txt'],
    ]);
  });

  it('refuses options that a format has no use for', async () => {
    const options = { format: 'safetensors', importance: 'x.dat' };
    expect((await planExport(model, options)).problems).toMatchObject([{ code: 'OPTION_UNUSED', name: 'importance' }]);
    await expect(exportModel(model, { ...options, output: fresh() })).rejects.toMatchObject({ code: 'PLAN_PROBLEMS' });
    expect(existsSync(out)).toBe(false);
  });

  it('measures quality only where Pith reads what it wrote', async () => {
    const unreadable = EXPORT_FORMATS.find(({ readable }) => !readable);
    if (unreadable === undefined) return;
    await expect(
      exportModel(model, { format: unreadable.name, output: fresh(), evaluate: { text: 'x.txt' } }),
    ).rejects.toMatchObject({ code: expect.stringMatching(/EVALUATION_OPTIONS|TOKENIZER_MISSING/) });
  });
});

describe('pith export', () => {
  it('prints one JSON document with the keys that scripts rely on', async () => {
    const run = await cli('export', model, '--format', 'safetensors:bf16', '-o', fresh(), '--json', '--threads', '1');
    expect(run.exitCode).toBe(0);
    const result = JSON.parse(run.stdout) as Record<string, unknown>;
    expect(Object.keys(result)).toEqual(
      expect.arrayContaining([
        'output',
        'bytesBefore',
        'bytesAfter',
        'bitsPerWeight',
        'seconds',
        'peakMemoryBytes',
        'receipt',
      ]),
    );
    expect(result).toMatchObject({ output: out, receipt: join(out, 'pith-receipt.json') });
    expect((await cli('verify', out)).exitCode).toBe(0);
  });

  it('names formats in its errors', async () => {
    const run = await cli('export', model, '--format', 'safetensor', '-o', fresh(), '--json');
    expect(run.exitCode).toBe(2);
    expect(JSON.parse(run.stdout)).toMatchObject({
      error: { code: 'FORMAT_UNKNOWN', details: { near: 'safetensors' } },
    });
  });
});
