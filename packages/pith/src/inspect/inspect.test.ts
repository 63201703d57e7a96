import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quantize } from '../run/quantize.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { inspect } from './inspect.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-inspect-'));
  writeSyntheticModel(join(root, 'model'), { layers: 1, hidden: 64, feedForward: 128, vocabulary: 96 });
});
afterAll(() => rmSync(root, { recursive: true }));

// By hand: two embeddings of 96 x 64; q and o 64 x 64, k and v 32 x 64; three of 128 x 64; three norms of 64.
const PARAMETERS = 2 * 96 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64 + 3 * 64;

describe('inspect', () => {
  it('counts what is stored', async () => {
    const inspection = await inspect(join(root, 'model'));
    expect(inspection).toMatchObject({
      architecture: 'llama',
      supported: true,
      parameters: PARAMETERS,
      quantization: null,
    });
    expect(inspection.bytes).toBe(statSync(join(root, 'model/model.safetensors')).size);
    expect(inspection.dtypes).toEqual({ bf16: 2 * PARAMETERS });
    expect(inspection.tensors).toHaveLength(12);
    expect(inspection.tensors.find(({ name }) => name === 'model.layers.0.self_attn.k_proj.weight')).toEqual({
      name: 'model.layers.0.self_attn.k_proj.weight',
      dtype: 'bf16',
      shape: [32, 64],
      bytes: 4096,
      file: 'model.safetensors',
    });
    expect(inspection.model).toMatchObject({ layers: 1, hiddenSize: 64, keyValueHeads: 4, tiedEmbeddings: false });
  });

  it('counts the parameters of a quantized model in their dense form', async () => {
    await quantize(join(root, 'model'), { output: join(root, 'small'), scheme: 'w4g32' });
    const inspection = await inspect(join(root, 'small'));
    expect(inspection).toMatchObject({
      parameters: PARAMETERS,
      quantization: expect.stringMatching(/^compressed-tensors w\d/) as string,
    });
    expect(Object.keys(inspection.dtypes)).toContain('i32');
  });

  it('shows an architecture that has no program', async () => {
    const config = JSON.parse(readFileSync(join(root, 'model/config.json'), 'utf8')) as Record<string, unknown>;
    const other = join(root, 'other');
    writeSyntheticModel(other, { layers: 1, hidden: 64, feedForward: 128, vocabulary: 96 });
    writeFileSync(
      join(other, 'config.json'),
      JSON.stringify({ ...config, model_type: 'mamba', architectures: ['Mamba'] }),
    );
    expect(await inspect(other)).toMatchObject({ architecture: 'mamba', supported: false, model: null });
  });

  it('refuses what is no checkpoint', async () => {
    await expect(inspect(join(root, 'nothing'))).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND', kind: 'input' });
    await expect(inspect(root)).rejects.toMatchObject({ code: 'CHECKPOINT_NO_CONFIG' });
    await expect(inspect(root, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'STOPPED' });
  });

  it.skipIf(!hasShared)('finds 260 thousand parameters in stories260k', async () => {
    expect(await inspect(shared('models/stories260k'))).toMatchObject({ parameters: 260_032, architecture: 'llama' });
  });
});
