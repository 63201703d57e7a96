// The claim behind all of it: a model without a unit computes what the whole model computes with that unit set to zero.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setMembers, type JsonObject } from '@pith/checkpoint';
import { saveCheckpoint } from '@pith/checkpoint/node';
import { createModel, logits, perplexity } from '@pith/model';
import type { LanguageModel, TransformContext } from '@pith/model';
import { openModel } from '@pith/model/node';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { cpuDevice, createKernelPool } from '@pith/tensor-core/node';
import type { KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { madeUpModel, masked, smallConfig } from './made-up-model.fixture.ts';
import { configChanges, keepLayers, keepUnits } from './restructured-model.ts';
import { sliceGroups, slicesOf, unitAxes, type UnitKind } from './slice-groups.ts';
import { structureTransform } from './structure-transform.ts';

const device = cpuDevice({ threads: 1 });
let pool: KernelPool;
let folder: string;
beforeAll(async () => {
  pool = createKernelPool({ threads: 1 });
  folder = await mkdtemp(join(tmpdir(), 'pith-structure-'));
});
afterAll(async () => {
  await device.dispose();
  await pool.dispose();
  await rm(folder, { recursive: true });
});

/** Experts are in experts.test.ts: no weight that is zero keeps tokens from one. */
type Kind = Exclude<UnitKind, 'experts'>;
const KINDS: readonly Kind[] = ['layers', 'neurons', 'kv-groups'];
const ids = (model: LanguageModel) =>
  Int32Array.from({ length: 20 }, (_, i) => (7 * i + 3) % Math.min(model.config.vocabularySize, 190));

/** All units of a block but one, another one in each block. */
function allButOne(model: LanguageModel, kind: Exclude<Kind, 'layers'>) {
  const axes = model.architecture.blocks.flatMap((block) => unitAxes(block, kind).map((axis) => ({ block, axis })));
  return new Map(
    axes.map(({ block: { index }, axis: { count, reader } }) => [
      reader.name,
      Uint32Array.from({ length: count }, (_, unit) => unit).filter(
        (unit) => unit !== goes(index, count, reader.expert ?? 0),
      ),
    ]),
  );
}
const goes = (block: number, total: number, expert: number) => (block + expert + 1) % total;

function without(model: LanguageModel, kind: Kind): LanguageModel {
  const { blocks } = model.architecture;
  if (kind === 'layers')
    return keepLayers(
      model,
      blocks.map(({ index }) => index).filter((index) => index !== 1),
    );
  return keepUnits(model, allButOne(model, kind));
}

function zeroed(model: LanguageModel, kind: Kind): Promise<LanguageModel> {
  const slices =
    kind === 'layers'
      ? sliceGroups(model.architecture, kind)
          .filter(({ block }) => block === 1)
          .flatMap((group) => group.slices)
      : model.architecture.blocks.flatMap((block) =>
          unitAxes(block, kind).flatMap((axis) =>
            slicesOf(axis, goes(block.index, axis.count, axis.reader.expert ?? 0)),
          ),
        );
  return masked(model, slices);
}

async function largestDifference(a: LanguageModel, b: LanguageModel): Promise<number> {
  const [x, y] = [(await logits(a, ids(a), { device })).data, (await logits(b, ids(b), { device })).data];
  expect(x.length).toBe(y.length);
  return x.reduce((largest, value, i) => Math.max(largest, Math.abs(value - y[i]!)), 0);
}

async function checkAll(model: LanguageModel, configText: string): Promise<void> {
  for (const kind of KINDS) {
    const small = without(model, kind);
    expect(await largestDifference(small, await zeroed(model, kind)), kind).toBeLessThan(1e-4);
    // Something was removed, and it mattered.
    expect(await largestDifference(small, model), kind).toBeGreaterThan(1e-3);
    const directory = join(folder, `${Math.random()}`);
    await saveCheckpoint(directory, {
      configText: setMembers(configText, configChanges(model.config, small.config) as JsonObject),
      weights: small.weights.values(),
    });
    const read = await openModel(directory);
    expect(read.config, kind).toEqual(small.config);
    expect(await largestDifference(read, small), kind).toBe(0);
    await read.close();
  }
}

describe('a model without one unit of each kind', () => {
  const windows = { use_sliding_window: true, sliding_window: 5, max_window_layers: 1 };
  const cases = {
    'llama, biases everywhere': smallConfig('llama', { attention_bias: true, mlp_bias: true }),
    'llama, tied, one key-value head for each query head': smallConfig('llama', {
      tie_word_embeddings: true,
      num_key_value_heads: 4,
    }),
    'qwen2, tied, windows from a layer on': smallConfig('qwen2', { tie_word_embeddings: true, ...windows }),
    'qwen2, windows in turn': smallConfig('qwen2', {
      ...windows,
      layer_types: ['sliding_attention', 'full_attention', 'sliding_attention'],
    }),
    'mistral, heads that do not fill the width': smallConfig('mistral', { sliding_window: 6, head_dim: 12 }),
    'mixtral, another neuron of each expert': smallConfig('mixtral', { num_local_experts: 3, num_experts_per_tok: 2 }),
    'qwen3_moe, a layer without experts': smallConfig('qwen3_moe', {
      ...{ num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 12, head_dim: 8 },
      mlp_only_layers: [1],
    }),
  };
  for (const [name, config] of Object.entries(cases)) {
    it(`${name}: computes what the masked model computes, read back from disk too`, async () => {
      await checkAll(madeUpModel(config), JSON.stringify(config));
    });
  }

  it('keeps the bits of bf16', async () => {
    const model = madeUpModel(smallConfig('qwen2', { dtype: 'bfloat16' }), 'bf16');
    for (const kind of KINDS) {
      const small = without(model, kind);
      for (const weight of small.weights.values()) expect(weight).toMatchObject({ kind: 'dense', dtype: 'bf16' });
      expect(await largestDifference(small, await zeroed(model, kind)), kind).toBeLessThan(1e-4);
    }
  });
});

describe.skipIf(!hasShared)('checkpoints of the reference data', () => {
  for (const path of ['golden/arch/llama', 'golden/arch/qwen2', 'golden/arch/mistral', 'models/stories260k']) {
    it(path, async () => {
      const model = await openModel(shared(path));
      await checkAll(model, await readFile(shared(`${path}/config.json`), 'utf8'));
      await model.close();
    });
  }

  it('stories260k loses the blocks that the reference implementation of ShortGPT takes', async () => {
    // golden/quality.md: blocks 2 and 3 at drop2, 128 windows of 256; a few are enough for the order.
    const model = await openModel(shared('models/stories260k'));
    const text = await readFile(shared('data/stories-calibration.txt'), 'utf8');
    const tokens = model.tokenizer!.encode(text.slice(0, 20_000));
    const windows = Array.from({ length: 16 }, (_, i) =>
      Int32Array.of(model.config.bosTokenId!, ...tokens.subarray(i * 255, (i + 1) * 255)),
    );
    const context: TransformContext = { device, pool, seed: 0, windows };
    const result = await structureTransform({ layers: 2 }).apply(model, context);
    expect(result.config).toMatchObject({ num_hidden_layers: 3 });
    expect(result.records['model.layers.2']).toMatchObject({ removed: true, becomes: null });
    expect(result.records['model.layers.3']).toMatchObject({ removed: true });
    expect(result.records['model.layers.4']).toMatchObject({ removed: false, becomes: 'model.layers.2' });
    const influence = result.records['model.layers.2']!['influence'] as number;
    expect(Math.abs(influence - 0.1176)).toBeLessThan(0.01); // 0.117599 on 128 windows
    await model.close();
  });

  it('stories260k loses a quarter of its neurons: by their inputs better than by their size', async () => {
    const directory = shared('models/stories260k');
    const model = await openModel(directory);
    const encode = async (file: string) =>
      model.tokenizer!.encode((await readFile(shared(file), 'utf8')).slice(0, 20_000));
    const tokens = await encode('data/stories-calibration.txt');
    const windows = Array.from({ length: 16 }, (_, i) =>
      Int32Array.of(model.config.bosTokenId!, ...tokens.subarray(i * 255, (i + 1) * 255)),
    );
    const evaluation = await encode('data/stories-eval.txt');
    const config = JSON.parse(await readFile(`${directory}/config.json`, 'utf8')) as Record<string, unknown>;
    const of = async (score: 'wanda' | 'magnitude') => {
      const transform = structureTransform({ neurons: 0.25, score });
      const result = await transform.apply(model, { device, pool, seed: 0, windows });
      const small = createModel({ config: { ...config, ...result.config }, weights: result.weights });
      return (await perplexity(small, { ids: evaluation, context: 256, device })).perplexity;
    };
    const [wanda, magnitude] = [await of('wanda'), await of('magnitude')];
    expect(wanda).toBeLessThan(0.75 * magnitude); // 10.3 and 19.4 on the whole text
    await model.close();
  });
});
