// A GGUF file in place of a checkpoint. Golden: llama.cpp's own f16 file of stories260k.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openModel } from '@pith/model/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cli } from '../cli/cli-host.fixture.ts';
import { evaluate } from '../evaluate/evaluate.ts';
import { exportModel } from '../export/export-model.ts';
import { generate } from '../generate/generate.ts';
import { inspect } from '../inspect/inspect.ts';
import { plan } from '../plan/plan.ts';
import { quantize } from '../run/quantize.ts';
import { verify } from '../verify/verify.ts';

describe.skipIf(!hasShared)('a GGUF file as the model of', () => {
  const golden = shared('golden/stories260k/stories260k-f16.gguf');
  const original = shared('models/stories260k');
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'pith-gguf-'));
  });
  afterAll(() => rmSync(root, { recursive: true }));

  it('inspect', async () => {
    const seen = await inspect(golden);
    expect(seen).toMatchObject({ architecture: 'llama', supported: true, quantization: 'gguf' });
    const dense = await inspect(original);
    expect(seen.parameters).toBe(dense.parameters);
    expect(seen.model).toEqual(dense.model);
    expect(seen.tensors[0]).toMatchObject({ name: 'token_embd.weight', dtype: 'f16' });
    expect(seen.bytes).toBe(readFileSync(golden).length);
    expect((await cli('inspect', golden)).exitCode).toBe(0);
  });

  it('generate', async () => {
    const options = { prompt: 'Once upon a time', maxTokens: 24, threads: 1 };
    expect((await generate(golden, options)).text).toBe((await generate(original, options)).text);
  });

  it('eval', async () => {
    const text = shared('data/stories-eval.txt');
    const result = await evaluate(golden, { data: text, context: 256, threads: 1, reference: original });
    // f16 weights lose next to nothing.
    expect(result.perplexity / result.referencePerplexity!).toBeCloseTo(1, 4);
  });

  it('plan and quantize, which say that it is compressed already where it is', async () => {
    const options = { scheme: 'w4g32', ignore: ['down_proj'], threads: 1 };
    expect((await plan(golden, options)).problems).toEqual([]);
    const output = join(root, 'w4');
    await quantize(golden, { ...options, output });
    expect(await verify(output)).toMatchObject({ ok: true });
    const [small, model] = [await openModel(output), await openModel(golden)];
    expect(small.weights.get('model.layers.0.self_attn.q_proj.weight')!.kind).toBe('quantized');
    expect(await small.weights.get('model.layers.0.mlp.down_proj.weight')!.toF32()).toEqual(
      await model.weights.get('model.layers.0.mlp.down_proj.weight')!.toF32(),
    );
    const words = 'Lily and Tom went to the park.';
    expect(small.tokenizer!.encode(words)).toEqual(model.tokenizer!.encode(words));
    await small.close();
    await model.close();
  });

  it('export back to safetensors, which loads alone', async () => {
    const output = join(root, 'dense');
    await exportModel(golden, { format: 'safetensors:f32', output, threads: 1 });
    const [dense, model] = [await openModel(output), await openModel(golden)];
    for (const [name, weight] of model.weights) {
      expect(await dense.weights.get(name)!.toF32(), name).toEqual(await weight.toF32());
    }
    expect(dense.tokenizer!.encode('a b')).toEqual(model.tokenizer!.encode('a b'));
    await dense.close();
    await model.close();
  });
});
