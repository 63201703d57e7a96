// What a checkpoint says of activations: written, read back, and refused where it cannot be meant.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryBlock, quantizedWeight, type ActivationQuantization, type IntegerScheme } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint, saveCheckpoint } from '../node/index.ts';
import { readQuantizationConfig } from './quantization-config.ts';

const scheme: IntegerScheme = {
  kind: 'int',
  bits: 8,
  symmetric: true,
  granularity: { kind: 'channel' },
  scaleDType: 'bf16',
};

function weight(name: string, activations: ActivationQuantization) {
  const block = { codes: Int8Array.of(1, -2, 3, -128, 127, 0), scales: Float32Array.of(0.5, 2) };
  return quantizedWeight({ name, shape: [2, 3], scheme, activations, read: memoryBlock(block, scheme, 2, 3) });
}

const FORMS: readonly ActivationQuantization[] = [
  { kind: 'token-dynamic', dtype: 'i8', symmetric: true },
  { kind: 'tensor-static', dtype: 'i8', symmetric: true, scale: 0.25, zeroPoint: 0 },
  { kind: 'tensor-static', dtype: 'i8', symmetric: false, scale: 3, zeroPoint: -77 },
];

describe('activations of compressed-tensors', () => {
  let scratch = '';
  beforeAll(() => (scratch = mkdtempSync(join(tmpdir(), 'pith-activations-'))));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it.each(FORMS)('%j are read back as they were written', async (activations) => {
    const directory = join(scratch, `${activations.kind}-${activations.symmetric}`);
    const written = [weight('a.weight', activations), weight('b.weight', activations)];
    await saveCheckpoint(directory, { configText: '{"model_type":"x"}', weights: written });
    const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as Record<string, never>;
    expect(config['quantization_config']).toMatchObject({
      format: 'int-quantized',
      config_groups: {
        group_0: {
          targets: ['Linear'],
          input_activations: {
            dynamic: activations.kind === 'token-dynamic',
            strategy: activations.kind === 'token-dynamic' ? 'token' : 'tensor',
            symmetric: activations.symmetric,
            num_bits: 8,
          },
        },
      },
    });
    const checkpoint = await openCheckpoint(directory);
    expect([...checkpoint.weights.keys()].sort()).toEqual(['a.weight', 'b.weight']);
    for (const one of checkpoint.weights.values()) {
      if (one.kind !== 'quantized') throw new Error('it was written quantized');
      expect(one.activations).toEqual(activations);
      expect(await one.block()).toEqual(await written[0]!.block());
      expect(one.byteLength).toBe(written[0]!.byteLength);
    }
    await checkpoint.close();
  });

  it('refuses what it cannot follow', () => {
    const config = (input_activations: object) => ({
      quant_method: 'compressed-tensors',
      format: 'int-quantized',
      config_groups: { g: { weights: { num_bits: 8, strategy: 'channel' }, input_activations } },
    });
    for (const [activations, text] of [
      [{ num_bits: 4, strategy: 'token', dynamic: true }, '4-bit activations with scales per token'],
      [{ num_bits: 4, type: 'float', strategy: 'group', group_size: 16, dynamic: true }, '4-bit activations'],
      [{ num_bits: 8, type: 'float', strategy: 'group', group_size: 32, dynamic: false }, 'static scales per group'],
      [{ num_bits: 8, strategy: 'group', dynamic: true }, 'dynamic scales per group'],
      [{ num_bits: 8, strategy: 'token', dynamic: false }, 'static scales per token'],
      [{ num_bits: 8, strategy: 'tensor', dynamic: 'local' }, 'dynamic scales per tensor'],
      [
        { num_bits: 8, type: 'float', symmetric: false, strategy: 'tensor' },
        'floating-point activations with zero points',
      ],
    ] as const) {
      expect(() => readQuantizationConfig(config(activations) as never, 'x')).toThrow(text);
    }
  });
});
