import { execFileSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { exportModel } from '../export/export-model.ts';
import { logits } from '../generate/logits.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { verify } from '../verify/verify.ts';
import { quantize } from './quantize.ts';

let root: string;
let model: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-name-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 1 });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

it('an empty name is not the current directory', async () => {
  const refused = { code: 'OUTPUT_NAME_EMPTY' };
  await expect(quantize(model, { output: '', overwrite: true })).rejects.toMatchObject(refused);
  await expect(exportModel(model, { format: 'safetensors', output: '' })).rejects.toMatchObject(refused);
  await expect(logits(model, { ids: [1], output: '' })).rejects.toMatchObject(refused);
  await expect(verify('')).rejects.toMatchObject({ code: 'RECEIPT_MISSING' });
});

it.skipIf(process.platform === 'win32')('logits replace a file, never a device or a pipe', async () => {
  const pipe = join(root, 'pipe');
  execFileSync('mkfifo', [pipe]);
  await expect(logits(model, { ids: [1], output: pipe, overwrite: true })).rejects.toMatchObject({
    code: 'OUTPUT_EXISTS',
    message: expect.stringContaining('must be a file') as string,
  });
  expect(lstatSync(pipe).isFIFO()).toBe(true);
  expect(readdirSync(root).sort()).toEqual(['model', 'pipe']);
});
