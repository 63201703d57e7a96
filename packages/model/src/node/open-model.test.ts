import { chmod, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import type { Device } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logits } from '../evaluate/logits.ts';
import { perplexity } from '../evaluate/perplexity.ts';
import { readSafetensors } from '../testing/read-safetensors.fixture.ts';
import { openModel } from './open-model.ts';

let device: Device;
beforeAll(() => {
  device = cpuDevice();
});
afterAll(() => device.dispose());

async function distanceToReference(folder: string, reference: string, key = 'logits'): Promise<number> {
  const golden = readSafetensors(reference);
  const model = await openModel(folder);
  try {
    const { data } = await logits(model, golden.get('input_ids')!.data, { device });
    const wanted = golden.get(key)!.data;
    return data.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i])), 0);
  } finally {
    await model.close();
  }
}

describe.skipIf(!hasShared)('models from directories', () => {
  // golden/arch: transformers 5.17, f32.
  it.each(['llama', 'llama-bf16-sharded', 'qwen2', 'mistral'])('%s: logits', async (name) => {
    const folder = shared(`golden/arch/${name}`);
    expect(await distanceToReference(folder, `${folder}/reference.safetensors`)).toBeLessThan(3e-5);
  });

  // golden/compressed-tensors: llm-compressor 0.14, decompressed by compressed-tensors 0.19, activations left alone.
  it.each(['w4a16-g128-sym', 'w4a16-g128-asym', 'w8a16-channel', 'w8a8-int', 'fp8-channel'])(
    'compressed-tensors %s: logits',
    async (name) => {
      const folder = shared(`golden/compressed-tensors/${name}/checkpoint`);
      expect(await distanceToReference(folder, `${folder}/reference.safetensors`)).toBeLessThan(5e-5);
    },
  );

  // golden/gptq (auto-gptq 0.7.1) and golden/awq (AutoAWQ 0.2.9): stored f16 scales, values in f32; golden/mlx: computed by
  // MLX 0.32.4, the embedding is quantized too.
  it.each(['gptq', 'awq', 'mlx'])('%s: logits', async (name) => {
    const folder = shared(`golden/${name}/checkpoint`);
    expect(await distanceToReference(folder, `${folder}/reference.safetensors`)).toBeLessThan(5e-5);
  });

  it('compressed-tensors w8a8-int: inputs are rounded as a runtime would, and the protocol says so', async () => {
    const model = await openModel(shared('golden/compressed-tensors/w8a8-int/checkpoint'));
    try {
      const ids = Int32Array.from({ length: 60 }, (_, i) => (7 * i + 3) % model.config.vocabularySize);
      const measure = (activations?: 'weights-only') =>
        perplexity(model, { device, ids, context: 16, ...(activations && { activations }) });
      const [rounded, plain] = [await measure(), await measure('weights-only')];
      expect([rounded.protocol.activations, plain.protocol.activations]).toEqual(['quantized', 'f32']);
      // Eight bits: near, and not the same.
      expect(Math.abs(rounded.nll - plain.nll)).toBeGreaterThan(1e-5);
      expect(Math.abs(rounded.nll - plain.nll)).toBeLessThan(0.05);
    } finally {
      await model.close();
    }
  });

  // 26.606888: transformers 5.23, f32, the same protocol over the first 8 windows (all 177: 26.8302, golden/quality.md).
  it('docs6m: a bf16 checkpoint with its tokenizer, tied', async () => {
    const model = await openModel(shared('models/docs6m'));
    try {
      expect(model).toMatchObject({ embeddings: 'tied', stopTokenIds: [1] });
      const text = await readFile(shared('data/docs-eval.txt'), 'utf8');
      const result = await perplexity(model, { device, text, context: 256, maxWindows: 8 });
      expect(result.perplexity).toBeCloseTo(26.606888, 4);
    } finally {
      await model.close();
    }
  });
});

describe.skipIf(!hasShared)('a directory with something wrong', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pith-model-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** A copy of stories260k with one file changed. */
  async function copy(name: string, file: string, change: (json: Record<string, unknown>) => unknown): Promise<string> {
    const directory = join(folder, name);
    await cp(shared('models/stories260k'), directory, { recursive: true });
    await chmod(directory, 0o755);
    await chmod(join(directory, file), 0o644);
    const json = JSON.parse(await readFile(join(directory, file), 'utf8')) as Record<string, unknown>;
    await writeFile(join(directory, file), JSON.stringify(change(json)));
    return directory;
  }

  it.each([
    ['another shape', { num_key_value_heads: 8 }, 'WEIGHTS_MISMATCH'],
    ['a layer too many', { num_hidden_layers: 6 }, 'WEIGHTS_MISMATCH'],
    ['a layer too few', { num_hidden_layers: 4 }, 'WEIGHTS_MISMATCH'],
    ['untied without a head', { tie_word_embeddings: false }, 'WEIGHTS_MISMATCH'],
    ['unknown architecture', { model_type: 'mamba' }, 'ARCHITECTURE_UNSUPPORTED'],
    ['nonsense', { hidden_size: -1 }, 'CONFIG_INVALID'],
  ])('%s is refused', async (name, change, code) => {
    const directory = await copy(name, 'config.json', (json) => ({ ...json, ...change }));
    await expect(openModel(directory)).rejects.toMatchObject({ code });
  });

  it('a broken tokenizer is refused', async () => {
    const directory = await copy('tokenizer', 'tokenizer.json', () => ({ model: 3 }));
    await expect(openModel(directory)).rejects.toMatchObject({ code: 'TOKENIZER_INVALID' });
  });

  it('generation_config.json names the tokens that end a text', async () => {
    const directory = await copy('generation', 'generation_config.json', (json) => ({ ...json, eos_token_id: [1, 2] }));
    const model = await openModel(directory);
    expect(model.stopTokenIds).toEqual([1, 2]);
    await model.close();
  });
});
