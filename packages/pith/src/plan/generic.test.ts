import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quantize } from '../run/quantize.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { plan } from './plan.ts';

let folder: string;
let unknown: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pith-generic-'));
  unknown = join(folder, 'unknown');
  writeSyntheticModel(unknown, { layers: 1 });
  const path = join(unknown, 'config.json');
  writeFileSync(path, readFileSync(path, 'utf8').replace('"llama"', '"mamba9"'));
  writeSyntheticModel(join(folder, 'llama'), { layers: 1 });
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('an unknown architecture', () => {
  it('is refused with its name, its tensors and the way out', async () => {
    await expect(plan(unknown, {})).rejects.toMatchObject({
      code: 'ARCHITECTURE_UNSUPPORTED',
      message: expect.stringMatching(/"mamba9".*model\.layers\.\*\.mlp\.up_proj\.weight.*--generic/) as string,
    });
  });

  it('is rounded when asked to, and the plan says so', async () => {
    const made = await plan(unknown, { generic: true });
    expect(made.notices[0]).toContain('mamba9 is unknown; 7 matrices');
    expect(made.notices[1]).toContain('model.embed_tokens.weight (looks like a table that is looked up)');
    const quantized = made.tensors.filter(({ action }) => action === 'quantize').map(({ name }) => name);
    expect(quantized).toHaveLength(7);
    expect(quantized).not.toContain('lm_head.weight');
    const result = await quantize(unknown, { generic: true, output: join(folder, 'small') });
    expect(result.bytesAfter).toBe(made.bytesAfter);
    expect(readFileSync(join(folder, 'small', 'config.json'), 'utf8')).toContain('pack-quantized');
  });

  it('cannot be calibrated', async () => {
    await expect(plan(unknown, { generic: true, method: 'gptq' })).rejects.toThrow(/nearest alone, got gptq/);
  });

  it('a known one keeps its own table', async () => {
    const made = await plan(join(folder, 'llama'), { generic: true });
    expect(made.notices).toEqual(['generic: llama is known, its own table is used']);
  });
});
