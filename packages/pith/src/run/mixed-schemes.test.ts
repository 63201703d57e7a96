// Several schemes in one artefact, and scales that calibration finds for groups of activations, through the whole run.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openCheckpoint } from '@pith/checkpoint/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { plan } from '../plan/plan.ts';
import { quantize } from './quantize.ts';

describe.skipIf(!hasShared)('schemes by module', () => {
  let folder = '';
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'pith-mixed-'))));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const model = shared('models/stories260k');

  it('nvfp4 does not divide 172 columns, and the plan says how to go on', async () => {
    const { problems } = await plan(model, { scheme: 'nvfp4' });
    expect(problems).toHaveLength(5);
    expect(problems[0]).toMatchObject({ code: 'GROUP_DOES_NOT_DIVIDE' });
    expect(problems[0]!.message).toMatch(/--scheme-for 'model\.layers\.0\.mlp\.down_proj=w8'/);
  });

  it.each([
    ['from file to file', {}],
    ['with calibration', { text: shared('data/stories-calibration.txt'), samples: 2, context: 32 }],
  ])('%s: groups of config.json, joined weights with one global scale', async (what, calibration) => {
    const output = join(folder, what.replaceAll(' ', '-'));
    const calibrated = 'text' in calibration;
    await quantize(model, {
      output,
      scheme: calibrated ? 'nvfp4-a4' : 'nvfp4',
      schemeFor: { down_proj: 'w8', 'layers.0.mlp.down_proj': 'w4' },
      threads: 1,
      ...(calibrated && { calibration: calibration as { text: string } }),
    });
    const config = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8')) as Record<string, never>;
    expect(config['quantization_config']).toMatchObject({ format: 'mixed-precision' });
    const checkpoint = await openCheckpoint(output);
    const of = (name: string) => {
      const weight = checkpoint.weight(`model.layers.${name}.weight`);
      if (weight.kind !== 'quantized') throw new Error(`${name} is ${weight.kind}`);
      return weight;
    };
    expect([of('0.mlp.down_proj').scheme, of('1.mlp.down_proj').scheme]).toMatchObject([{ bits: 4 }, { bits: 8 }]);
    const [q, k, v, o] = ['q', 'k', 'v', 'o'].map((part) => of(`1.self_attn.${part}_proj`));
    expect(q!.globalScale).toBeGreaterThan(0);
    expect([k!.globalScale, v!.globalScale]).toEqual([q!.globalScale, q!.globalScale]);
    expect(o!.globalScale).not.toBe(q!.globalScale);
    expect(of('1.mlp.up_proj').globalScale).toBe(of('1.mlp.gate_proj').globalScale);
    if (calibrated)
      expect(q!.activations).toMatchObject({ kind: 'group-dynamic', globalScale: expect.any(Number) as number });
    else expect(q!.activations).toBeUndefined();
    await checkpoint.close();
  });
});
