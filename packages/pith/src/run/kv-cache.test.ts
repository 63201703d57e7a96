// Keys and values in 8 bits through the whole run: scales as llm-compressor finds them, stored, read back, evaluated.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openCheckpoint } from '@pith/checkpoint/node';
import { openModel } from '@pith/model/node';
import { toF32 } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluate } from '../evaluate/evaluate.ts';
import { exportModel } from '../export/export-model.ts';
import { inspect } from '../inspect/inspect.ts';
import { plan } from '../plan/plan.ts';
import { verify } from '../verify/verify.ts';
import { planRecipe } from './compress.ts';
import { quantize } from './quantize.ts';

/**
 * Scales of `oneshot(recipe=[QuantizationModifier(kv_cache_scheme={num_bits: 8, type, strategy, symmetric: true, dynamic: false,
 * observer: 'static_minmax'})])` of llm-compressor 0.14.0.1 with transformers 5.17 and torch 2.10 (f32, CPU), on the first 8 windows of
 * 128 positions (BOS and 127 tokens) of stories-calibration.txt: k_scale and v_scale, layer by layer.
 */
const PEER = {
  fp8: [
    [0.0533180832862854, 0.003386706579476595],
    [0.06698554009199142, 0.00381368026137352],
    [0.05463520437479019, 0.005505240987986326],
    [0.05964619666337967, 0.006030618213117123],
    [0.04408973455429077, 0.0067896596156060696],
  ],
  /** Of int8 with the strategy `attn_head`: layer 2. */
  int8Head: [
    [0.15547028183937073, 0.19197311997413635, 0.12731347978115082, 0.06122766062617302],
    [0.018809165805578232, 0.013440044596791267, 0.01934390515089035, 0.01703130453824997],
  ],
} as const;

describe.skipIf(!hasShared)('kv-cache', () => {
  let folder = '';
  let data = '';
  let text = '';
  let calibration = { text, samples: 8, context: 128 };
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'pith-kv-'));
    text = join(folder, 'calibration.txt');
    calibration = { text, samples: 8, context: 128 };
    data = join(folder, 'text.txt');
    writeFileSync(data, readFileSync(shared('data/stories-eval.txt'), 'utf8').slice(0, 5000));
    // The first 8 windows lie well within.
    writeFileSync(text, readFileSync(shared('data/stories-calibration.txt'), 'utf8').slice(0, 6000));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const model = shared('models/stories260k');

  it('finds the scales that llm-compressor finds, and evaluates with rounded keys and values', async () => {
    const output = join(folder, 'fp8');
    const options = { method: 'kv-cache', scheme: 'fp8', calibration, threads: 1 };
    const planned = await plan(model, options);
    expect(planned.problems).toEqual([]);
    const added = planned.tensors.filter(({ action }) => action === 'add');
    expect(added).toHaveLength(10);
    expect(added[0]).toMatchObject({ name: 'model.layers.0.self_attn.k_scale', bytesBefore: 0, bytesAfter: 4 });
    expect(added[1]!.reason).toBe('kv-cache, fp8: scale of the values that a runtime keeps');
    await quantize(model, { ...options, output, evaluate: { text: data, context: 128 } });

    const config = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8')) as Record<string, object>;
    expect(config['quantization_config']).toMatchObject({
      config_groups: {},
      format: 'dense',
      ignore: [],
      kv_cache_scheme: { num_bits: 8, type: 'float', strategy: 'tensor', symmetric: true, observer: 'static_minmax' },
      quant_method: 'compressed-tensors',
    });
    const checkpoint = await openCheckpoint(output);
    for (const [layer, expected] of PEER.fp8.entries()) {
      for (const [i, part] of ['k_scale', 'v_scale'].entries()) {
        const { dtype, shape, source, byteLength } = checkpoint.tensors.get(`model.layers.${layer}.self_attn.${part}`)!;
        expect([dtype, shape]).toEqual(['f32', [1]]);
        const [scale] = toF32('f32', await source.read(0, byteLength));
        // The same maximum; five layers of f32 sums in another order.
        expect(Math.abs(scale! / expected[i]! - 1)).toBeLessThan(1e-5);
      }
    }
    expect(checkpoint.weightFileBytes).toBe(planned.bytesAfter);
    await checkpoint.close();

    const receipt = JSON.parse(readFileSync(join(output, 'pith-receipt.json'), 'utf8')) as {
      operation: string;
      quality: { protocol: object; after: { perplexity: number }; before: { perplexity: number } };
      stages: { method: string; records: Record<string, { scale: number[] }> }[];
      weights: { name: string; action: string; shape: number[] }[];
    };
    expect(receipt.operation).toBe('quantize');
    expect(receipt.stages[0]).toMatchObject({ method: 'kv-cache' });
    expect(receipt.stages[0]!.records['model.layers.4.self_attn.v_scale']!.scale[0]).toBeCloseTo(PEER.fp8[4][1], 7);
    expect(receipt.weights.find(({ name }) => name.endsWith('0.self_attn.v_scale'))).toMatchObject({
      action: 'add',
      shape: [1],
    });
    expect(receipt.quality.protocol).toMatchObject({ keyValues: 'f8_e4m3' });
    const { before, after } = receipt.quality;
    expect(after.perplexity).not.toBe(before.perplexity);
    // Three bits of mantissa on a model this small: a percent, not ten.
    expect(Math.abs(after.perplexity / before.perplexity - 1)).toBeLessThan(3e-2);
    const weightsOnly = await evaluate(output, { data, context: 128, weightsOnly: true, threads: 1 });
    expect(weightsOnly.perplexity).toBeCloseTo(before.perplexity, 5);
    expect(await verify(output)).toMatchObject({ ok: true });
    expect((await inspect(output)).quantization).toBe('compressed-tensors (keys and values f8_e4m3, 10 scales)');
    // Nothing but scales is coded; they are carried over with what is said of them.
    const again = join(folder, 'fp8-again');
    await exportModel(output, { format: 'compressed-tensors', output: again });
    const copied = JSON.parse(readFileSync(join(again, 'config.json'), 'utf8')) as Record<string, object>;
    expect(copied['quantization_config']).toEqual(config['quantization_config']);
  });

  it('beside quantized weights, in one walk, with a scale for each head', async () => {
    const output = join(folder, 'w8a8');
    const options = { scheme: 'w8a8', kvCache: 'int8-head', calibration, threads: 1 };
    const planned = await plan(model, options);
    expect(planned.stages.map(({ method }) => method)).toEqual(['rtn', 'kv-cache']);
    await quantize(model, { ...options, output });
    const opened = await openModel(output);
    expect(opened.keyValueCache).toMatchObject({ dtype: 'i8', granularity: 'head', scaleDType: 'f32' });
    for (const [i, part] of ['k', 'v'].entries()) {
      const found = opened.keyValueCache!.scales.get(`model.layers.2.self_attn.${part}_scale`)!;
      expect(found).toHaveLength(4);
      // The peer's are of unquantized weights; ours of the int8 weights that runtimes have.
      for (const [head, expected] of PEER.int8Head[i]!.entries()) {
        expect(Math.abs(found[head]! / expected - 1)).toBeLessThan(2e-2);
      }
    }
    expect(opened.weights.get('model.layers.0.mlp.up_proj.weight')).toMatchObject({ kind: 'quantized' });
    await opened.close();
    expect(await verify(output)).toMatchObject({ ok: true });
  });

  it('says what does not go together, before anything is done', async () => {
    const codes = async (options: object) =>
      (await plan(model, { kvCache: 'fp8', scheme: 'w8', ...options })).problems.map(({ code }) => code);
    expect(await codes({})).toEqual(['CALIBRATION_MISSING']);
    expect(await codes({ calibration, format: 'awq', scheme: 'w4' })).toContain('KV_CACHE_FORMAT');
    await expect(plan(model, { kvCache: 'fp4', calibration })).rejects.toMatchObject({ code: 'OPTIONS_INVALID' });
    const recipe = {
      version: 1 as const,
      calibration,
      stages: [{ quantize: { method: 'kv-cache' as const } }, { quantize: { method: 'rtn' as const, scheme: 'w8' } }],
    };
    const { problems } = await planRecipe(model, { recipe });
    expect(problems).toMatchObject([{ code: 'KV_CACHE_NOT_LAST', name: 'stage-1' }]);
  });
});
