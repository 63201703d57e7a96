// Weights of 4 bits and inputs of 8: stored a byte to a code, read back, evaluated with rounded inputs.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpoint } from '@pith/checkpoint/node';
import { logits } from '@pith/model';
import { openModel } from '@pith/model/node';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { verify } from '../verify/verify.ts';
import { quantize } from './quantize.ts';

let root: string;
let model: string;
let calibration: { text: string; samples: number; context: number };
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-w4a8-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 1, hidden: 64, feedForward: 128, vocabulary: 64 });
  const text = join(root, 'ids.json');
  writeFileSync(text, JSON.stringify(Array.from({ length: 400 }, (_, i) => (i * 37 + ((i * i) % 11)) % 64)));
  calibration = { text, samples: 4, context: 32 };
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const UP = 'model.layers.0.mlp.up_proj.weight';

async function codesOf(directory: string) {
  const checkpoint = await openCheckpoint(directory);
  const weight = checkpoint.weight(UP);
  if (weight.kind !== 'quantized') throw new Error(weight.kind);
  const { codes, scales } = await weight.block();
  await checkpoint.close();
  return { weight, codes, scales, stored: checkpoint.tensors.get(UP) };
}

describe.each(['rtn', 'gptq'] as const)('w4a8g32 by %s', (method) => {
  it('has the codes of w4g32, a byte each, and asks for inputs in int8 for each token', async () => {
    const more = method === 'rtn' ? {} : { method, calibration };
    const [output, plain] = [join(root, `${method}-a8`), join(root, `${method}-a16`)];
    await quantize(model, { scheme: 'w4a8g32', output, threads: 1, ...more });
    await quantize(model, { scheme: 'w4g32', output: plain, threads: 1, ...more });
    expect(await verify(output)).toMatchObject({ ok: true });
    const { quantization_config: said } = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8')) as {
      quantization_config: unknown;
    };
    // The preset W4A8 of llm-compressor.
    expect(said).toMatchObject({
      format: 'int-quantized',
      config_groups: {
        group_0: {
          weights: { num_bits: 4, type: 'int', strategy: 'group', group_size: 32, symmetric: true },
          input_activations: { num_bits: 8, type: 'int', strategy: 'token', dynamic: true, symmetric: true },
        },
      },
    });
    const [made, same] = [await codesOf(output), await codesOf(plain)];
    expect(made.weight.activations).toEqual({ kind: 'token-dynamic', dtype: 'i8', symmetric: true });
    expect(made.stored).toMatchObject({ dtype: 'i8', shape: [128, 64] });
    expect(made.codes).toEqual(same.codes);
    expect(made.scales).toEqual(same.scales);
    expect([Math.min(...made.codes), Math.max(...made.codes)].every((code) => Math.abs(code) <= 8)).toBe(true);
  });

  it('is evaluated with rounded inputs', async () => {
    const device = cpuDevice({ threads: 1 });
    const opened = await openModel(join(root, `${method}-a8`));
    const ids = Array.from({ length: 16 }, (_, i) => (i * 5 + 1) % 64);
    const [weightsOnly, rounded] = [
      await logits(opened, ids, { device }),
      await logits(opened, ids, { device, activations: 'quantized' }),
    ];
    const norm = (values: Float32Array) => Math.hypot(...values);
    const distance = norm(rounded.data.map((value, i) => value - weightsOnly.data[i]!)) / norm(weightsOnly.data);
    // Steps of absmax / 127.5 are off by 1 / 255 of the largest input at most, by 0.23% of it in the mean; f32 is off by 1e-7.
    expect(distance).toBeGreaterThan(1e-4);
    expect(distance).toBeLessThan(0.05);
    await opened.close();
    await device.dispose();
  });
});
