// Both schedules on a small model with the real trainer: zeros that hold, targets that are met, runs that resume.
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createModel, initialParameters, plannedWeight, readModelConfig, describeArchitecture } from '@pith/model';
import type { LanguageModel, ModelTransform, PlannedModel, TransformContext, TransformResult } from '@pith/model';
import { cpuDevice, createKernelPool } from '@pith/tensor-core/node';
import type { KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryWeight, smallConfig } from '../structure/made-up-model.fixture.ts';
import { gradualTransform } from './gradual-transform.ts';
import type { GradualOptions } from './gradual-config.ts';
import type { IterativeOptions } from './iterative-config.ts';
import { iterativeTransform } from './iterative-transform.ts';

const device = cpuDevice({ threads: 1 });
let pool: KernelPool;
let folder: string;
beforeAll(async () => {
  pool = createKernelPool({ threads: 1 });
  folder = await mkdtemp(join(tmpdir(), 'pith-schedule-'));
});
afterAll(async () => {
  await device.dispose();
  await pool.dispose();
  await rm(folder, { recursive: true });
});

const config = smallConfig('llama', { num_hidden_layers: 2, tie_word_embeddings: true });
const parameters = initialParameters(describeArchitecture(readModelConfig(config)), { seed: 3, deviation: 0.1 });
const model = createModel({
  config,
  weights: new Map(
    Object.entries(parameters).map(([name, { shape, data }]) => [name, memoryWeight(name, shape, data)]),
  ),
});
const planned: PlannedModel = {
  config,
  architecture: model.architecture,
  weights: new Map([...model.weights].map(([name, weight]) => [name, plannedWeight(weight)])),
};
// Counting by two: a rule that is learnt in a few steps.
const windows = Array.from({ length: 24 }, (_, w) =>
  Int32Array.from({ length: 9 }, (_, i) => (i === 0 ? 0 : 2 + ((2 * (i + 5 * w)) % 9))),
);
const context = (more: Partial<TransformContext> = {}): TransformContext => ({
  ...{ device, pool, seed: 5, windows, evaluationWindows: windows.slice(0, 8) },
  ...more,
});
const linears = model.architecture.blocks.flatMap((block) => block.linears.map(({ name }) => name));

async function values(result: Pick<TransformResult, 'weights'>): Promise<Record<string, Float32Array>> {
  const entries = [...result.weights].map(async ([name, weight]) => [name, await weight.toF32()] as const);
  return Object.fromEntries((await Promise.all(entries)).sort(([a], [b]) => a.localeCompare(b)));
}
const zeroShare = (data: Float32Array) => data.filter((value) => value === 0).length / data.length;
const small = (result: TransformResult): LanguageModel =>
  createModel({ config: { ...config, ...result.config }, weights: result.weights });

/** Stops a run at its nth event of a phase, starts it again, and gives what came of it. */
async function interrupted(
  transform: ModelTransform,
  name: string,
  phase: string,
  at: number,
): Promise<TransformResult> {
  const directory = join(folder, name);
  const stop = new AbortController();
  let events = 0;
  const stopped = transform.apply(
    model,
    context({
      directory,
      signal: stop.signal,
      progress: (event) => {
        if (event.phase === phase && ++events === at) stop.abort();
      },
    }),
  );
  await expect(stopped).rejects.toMatchObject({ code: 'STOPPED' });
  return transform.apply(model, context({ directory }));
}

const fineTune = { steps: 12, learningRate: 0.01, batchSize: 4, weightDecay: 0.1 };

describe('iterativeTransform', () => {
  const options: IterativeOptions = {
    by: { method: 'magnitude' },
    sparsity: 0.75,
    rounds: 2,
    spacing: 'linear',
    fineTune,
  };

  it('prunes single weights in rounds; fine-tuning moves what is left and nothing else', async () => {
    const result = await iterativeTransform(options).apply(model, context());
    const data = await values(result);
    for (const name of linears) {
      expect(zeroShare(data[name]!), name).toBe(0.75);
      expect(result.records[name], name).toMatchObject({ sparsity: 0.75 });
    }
    expect(data['model.norm.weight']).not.toEqual(parameters['model.norm.weight']!.data);
    const of = (round: number) => result.records[`round ${round}`] as Record<string, number>;
    expect(of(1)).toMatchObject({ method: 'magnitude', sparsity: 0.375, passed: true });
    expect(of(2)).toMatchObject({ sparsity: 0.75, passed: true });
    // Fine-tuning helps, and teaches what there is to learn.
    expect(of(1)['perplexity']!).toBeLessThan(of(1)['perplexityPruned']!);
    expect(of(2)['perplexity']!).toBeLessThan(of(0)['perplexity']!);
    expect(result.config).toEqual({});
    expect(result.interventions).toEqual([]);
  });

  it('ends with the same bytes when it is stopped in the fine-tuning of a round and started again', async () => {
    const transform = iterativeTransform(options);
    const whole = await transform.apply(model, context());
    const resumed = await interrupted(transform, 'iterative', 'train', 12 + 5);
    expect(await values(resumed)).toEqual(await values(whole));
    expect(resumed.records).toEqual(whole.records);
    expect((await readdir(join(folder, 'iterative'))).filter((name) => name.startsWith('round-'))).toEqual([
      'round-0002',
    ]);
    const other = iterativeTransform({ ...options, sparsity: 0.5 });
    await expect(other.apply(model, context({ directory: join(folder, 'iterative') }))).rejects.toMatchObject({
      code: 'ROUNDS_SETTINGS',
    });
  });

  it('removes parts in rounds, by counts of the model as it was, and resumes', async () => {
    const transform = iterativeTransform({
      by: { method: 'structure', layers: 1, neurons: 0.5, kvGroups: 1, score: 'wanda', multipleOf: 4 },
      rounds: 3,
      spacing: 'linear',
      fineTune: { ...fineTune, steps: 3 },
    });
    expect(transform.plan(planned)).toMatchObject({
      problems: [],
      config: { num_hidden_layers: 1, intermediate_size: 12, num_attention_heads: 2, num_key_value_heads: 1 },
    });
    const whole = await transform.apply(model, context());
    expect(small(whole).config).toMatchObject({
      layers: 1,
      intermediateSize: 12,
      heads: 2,
      keyValueHeads: 1,
      headDim: 8,
    });
    const resumed = await interrupted(transform, 'structure', 'train', 5);
    expect(await values(resumed)).toEqual(await values(whole));
    expect(resumed.records).toEqual(whole.records);
    expect(resumed.config).toEqual(whole.config);
  });

  it('keeps the last round that passed, and reports that the target was not reached', async () => {
    const hooks = {
      evaluate: async (candidate: LanguageModel) => {
        const name = linears[0]!;
        return 10 + 10 * zeroShare(await candidate.weights.get(name)!.toF32());
      },
    };
    const transform = iterativeTransform({ ...options, rounds: 4, degradation: 1.4 }, hooks);
    const result = await transform.apply(model, context());
    expect(zeroShare((await values(result))[linears[0]!]!)).toBe(0.375); // 0.5625 gives 15.6, above 14
    expect(result.interventions).toMatchObject([{ code: 'TARGET_NOT_REACHED', details: { kept: 2, round: 3 } }]);
  });

  it('takes a fine-tuning of the caller, and none without windows for magnitude', async () => {
    const rounds: number[] = [];
    const transform = iterativeTransform(
      { by: { method: 'magnitude' }, sparsity: 0.5, rounds: 2 },
      {
        fineTune: (candidate, round) => {
          rounds.push(round);
          return Promise.resolve(candidate);
        },
      },
    );
    const result = await transform.apply(model, context({ windows: [], evaluationWindows: [] }));
    expect(rounds).toEqual([1, 2]);
    expect(zeroShare((await values(result))[linears[1]!]!)).toBe(0.5);
    expect(result.records['round 2']).toMatchObject({ perplexity: null });
  });

  it('plans pruning and training', () => {
    const { changes, notices, problems } = iterativeTransform(options).plan(planned);
    const of = (name: string) => changes.find((change) => change.name === name);
    expect(problems).toEqual([]);
    expect(of(linears[0]!)).toMatchObject({ action: 'prune', after: { sparsity: 0.75 } });
    expect(of('model.embed_tokens.weight')).toMatchObject({ action: 'train' });
    expect(notices.join()).toContain('2 rounds (linear)');
    const heads = iterativeTransform({ by: { method: 'structure', kvGroups: 2, layers: 9 } }).plan(planned);
    expect(heads.problems.map(({ code }) => code)).toEqual(['NO_LAYER_LEFT', 'NO_HEAD_LEFT']);
  });

  it('refuses what does not go together', async () => {
    const message = (given: object) => {
      try {
        iterativeTransform(given as IterativeOptions);
      } catch (error) {
        return (error as Error).message;
      }
      return 'accepted';
    };
    expect(message({ by: { method: 'wanda' }, round: 3 })).toMatch(/round: unknown, did you mean rounds\?/);
    expect(message({ by: { method: 'wanda' } })).toContain('sparsity: must be given');
    expect(message({ by: { method: 'wanda', pattern: '2:4' }, sparsity: 0.5 })).toContain(
      'by.pattern: is not for rounds',
    );
    expect(message({ by: { method: 'structure', layers: [1] }, sparsity: 0.5 })).toMatch(/sparsity: .*by\.layers: /);
    expect(message({ by: { method: 'magnitde' }, sparsity: 0.5 })).toContain('did you mean magnitude?');
    expect(message({ by: { method: 'wanda' }, sparsity: 1, rounds: 0, degradation: 0.5 })).toMatch(
      /sparsity: .*rounds: .*degradation: /,
    );
    expect(message({ ...options, fineTune: { steps: 1, trainable: 'lora' } })).toContain(
      'an addition would fill the zeros',
    );
    expect(message({ ...options, fineTune: { steps: 0 } })).toContain('fineTune.steps');
    const judged = iterativeTransform({ ...options, degradation: 1.1 });
    await expect(judged.apply(model, context({ evaluationWindows: [] }))).rejects.toMatchObject({
      code: 'EVALUATION_MISSING',
    });
  });
});

describe('gradualTransform', () => {
  const options: GradualOptions = { ...fineTune, steps: 24, sparsity: 0.75, pruneEvery: 4, ignore: ['o_proj'] };

  it('ends at the sparsity exactly, with what is left trained', async () => {
    const result = await gradualTransform(options).apply(model, context());
    const data = await values(result);
    for (const name of linears) {
      const share = name.includes('o_proj') ? 0 : 0.75;
      expect(zeroShare(data[name]!), name).toBe(share);
      if (share > 0) expect(result.records[name]).toEqual({ sparsity: 0.75 });
    }
    expect((result.records['training'] as { finalLoss: number }).finalLoss).toBeLessThan(0.7 * Math.log(48));
    expect(gradualTransform(options).plan(planned)).toMatchObject({ problems: [] });
  });

  it('ends with the same bytes when it is stopped between two prunings and started again', async () => {
    const transform = gradualTransform(options);
    const whole = await transform.apply(model, context());
    const resumed = await interrupted(transform, 'gradual', 'train', 10);
    expect(await values(resumed)).toEqual(await values(whole));
  });

  it('refuses what does not go together', async () => {
    const message = (given: object) => {
      try {
        gradualTransform(given as GradualOptions);
      } catch (error) {
        return (error as Error).message;
      }
      return 'accepted';
    };
    expect(message({ steps: 4, sparsity: 0.5, initialSparsity: 0.75, rampSteps: 5, trainable: 'lora:rank=2' })).toMatch(
      /initialSparsity: .*trainable: .*rampSteps: /,
    );
    expect(message({ steps: 4, sparsity: 1 })).toContain('sparsity: must be less than 1');
    expect(message({ steps: 4, sparsity: 0.5, ignored: [] })).toContain('did you mean ignore?');
    const norms = gradualTransform({ steps: 4, sparsity: 0.5, trainable: 'norms' });
    expect(norms.plan(planned).problems).toHaveLength(linears.length);
    await expect(norms.apply(model, context())).rejects.toMatchObject({ code: 'NOT_TRAINED' });
    const empty = gradualTransform({ steps: 4, sparsity: 0.5 }).apply(model, context({ windows: [] }));
    await expect(empty).rejects.toMatchObject({ code: 'TRAIN_DATA_TOO_SHORT' });
  });
});
