import type { LanguageModel, TransformContext } from '@pith/model';
import { isPithError } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import * as tf from '@tensorflow/tfjs-core';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { distill, type DistillInput } from './distill.ts';
import { distillConfig, type DistillOptions } from './distill-config.ts';
import { distillTransform } from './distill-transform.ts';
import { mutualDistill } from './mutual.ts';
import { mixedLogits } from './teacher/live-teachers.ts';
import { normal, valueOf } from './testing/gradient.fixture.ts';
import { countingWindows, tinyConfig, tinyModel, tokenizerOf } from './testing/tiny-models.fixture.ts';

const device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pith-distill-'));
});
afterEach(() => rm(folder, { recursive: true }));

const windows = countingWindows(16);
const teacher = tinyModel(1);
const context = (more: Partial<TransformContext> = {}) => ({ device, windows, seed: 3, ...more }) as TransformContext;
const run = (options: DistillOptions, more: Partial<DistillInput> = {}) =>
  distill({
    student: tinyModel(2),
    teachers: [teacher],
    config: distillConfig(options),
    device,
    windows,
    seed: 3,
    ...more,
  });
const apply = (options: DistillOptions, more: Partial<TransformContext> = {}, model: LanguageModel = teacher) =>
  distillTransform(options).apply(model, context(more));
const bytes = async (weights: ReadonlyMap<string, { toF32(): Promise<Float32Array> }>) =>
  Object.fromEntries(
    await Promise.all([...weights].map(async ([name, weight]) => [name, await weight.toF32()] as const)),
  );

describe('distill', () => {
  it('brings the student to the teacher by every term at once, weights changing on the way', async () => {
    const loss = 'kl:T=2,hard:0.1..0.2,hidden:0.5,attention:0.5..0@cosine,relations:0.5:layers=uniform';
    const student = tinyModel(2, { hidden_size: 8, num_attention_heads: 4, num_key_value_heads: 1 });
    const { run: course, trained } = await run({ steps: 60, learningRate: 0.02, loss }, { student });
    const [first, last] = [course.curve[0]!, course.curve.at(-1)!];
    expect(Object.keys(first.terms!)).toEqual(['kl', 'hard', 'hidden', 'attention', 'relations']);
    for (const name of ['kl', 'hidden', 'attention', 'relations']) {
      expect(last.terms![name], name).toBeLessThan(0.9 * first.terms![name]!);
    }
    const { kl, hard, hidden, attention, relations } = last.terms as Record<string, number>;
    // At the last step: weights 1, 0.2, 0.5, 0, 0.5.
    expect(last.loss).toBeCloseTo(kl! + 0.2 * hard! + 0.5 * hidden! + 0 * attention! + 0.5 * relations!, 4);
    // Projections are learnt and thrown away.
    expect(trained.some((name) => name.includes('projection'))).toBe(false);
  });

  it('leaves the student alone where nothing differs', async () => {
    const { run: course } = await run({ steps: 2, loss: 'kl,hidden,relations' }, { student: teacher });
    expect(course.curve[0]!.loss).toBeLessThan(1e-6);
    expect(course.curve[0]!.gradientNorm).toBeLessThan(1e-4);
  });

  it('refuses no teacher, teachers of other tokens, tokens beyond the vocabulary, weights that are not one each', async () => {
    await expect(run({ steps: 1 }, { teachers: [] })).rejects.toMatchObject({ code: 'DISTILL_TEACHER_MISSING' });
    await expect(run({ steps: 1, loss: 'hard' }, { teachers: [] })).resolves.toBeDefined();
    const names = Array.from({ length: 11 }, (_, i) => `t${i}`);
    const other = names.map((name, i) => (i < 9 ? name : `other${i}`));
    const student = tinyModel(2, {}, tokenizerOf(names));
    const foreign = run({ steps: 1 }, { student, teachers: [tinyModel(1, {}, tokenizerOf(other))] });
    // Tokens 9 and 10 are 2 of the 9 that each window but its first token runs through.
    await expect(foreign).rejects.toMatchObject({ code: 'DISTILL_VOCABULARY' });
    const error: unknown = await foreign.catch((reason: unknown) => reason);
    const all = windows.flatMap((window) => [...window]);
    const share = all.filter((id) => id < 9).length / all.length;
    expect(isPithError(error) && error.details['share']).toBeCloseTo(share, 12);
    expect(isPithError(error) && error.message).toContain(
      `${(100 * share).toFixed(1)}% of the text's tokens exist in both`,
    );
    await expect(run({ steps: 1 }, { teachers: [tinyModel(1, { vocab_size: 12 })] })).rejects.toThrow(
      /11 tokens \(student\) and 12 \(teacher\)/,
    );
    await expect(run({ steps: 1 }, { windows: [Int32Array.of(0, 11)] })).rejects.toMatchObject({
      code: 'DISTILL_TOKENS',
    });
    await expect(run({ steps: 1, teacherWeights: [1, 2] })).rejects.toMatchObject({ code: 'DISTILL_TEACHERS' });
    await expect(run({ steps: 1, loss: 'attention,relations:heads=7' }, { student: tinyModel(2, { num_attention_heads: 2 }) })) // prettier-ignore
      .rejects.toThrow(/as many heads in both, got 2 and 4.*relation heads must divide/);
  });
});

describe('teachers', () => {
  it('several: the mean of their distributions by weight, and by confidence', async () => {
    const inputs = { a: normal('a', [1, 2, 5], 2), b: normal('b', [1, 2, 5], 0.5) };
    const softmax = (values: ArrayLike<number>, row: number, temperature: number) => {
      const exps = Array.from({ length: 5 }, (_, i) => Math.exp(values[row * 5 + i]! / temperature));
      const total = exps.reduce((x, y) => x + y, 0);
      return exps.map((x) => x / total);
    };
    const entropy = (p: readonly number[]) => -p.reduce((sum, x) => sum + x * Math.log(x), 0);
    for (const combine of ['weights', 'confidence'] as const) {
      const temperature = 2;
      for (const token of [0, 7]) {
        const [row, column] = [Math.floor(token / 5), token % 5];
        const found = await valueOf(({ a, b }) => {
          const mixed = mixedLogits([a as tf.Tensor3D, b as tf.Tensor3D], temperature, { combine, weights: [3, 1] });
          const p = tf.softmax(tf.div(mixed, temperature));
          return tf.reshape(tf.slice(p, [0, row, column], [1, 1, 1]), []);
        }, inputs);
        const [p, q] = [softmax(inputs.a.data, row, temperature), softmax(inputs.b.data, row, temperature)];
        const [wp, wq] = combine === 'weights' ? [3, 1] : [3 * Math.exp(-entropy(p)), Math.exp(-entropy(q))];
        expect(found).toBeCloseTo((wp * p[column]! + wq * q[column]!) / (wp + wq), 5);
      }
    }
    const { run: course } = await run({ steps: 3, combine: 'confidence' }, { teachers: [teacher, tinyModel(5)] });
    expect(course.curve).toHaveLength(3);
  });

  it('from a cache of all their tokens: the same course as live', async () => {
    const options = { steps: 4, loss: 'kl:T=2,hard:0.5' };
    const live = await apply(options, { teachers: [teacher] }, tinyModel(2));
    const cached = await apply({ ...options, cacheTop: 11 }, { teachers: [teacher], directory: folder }, tinyModel(2));
    const losses = (result: typeof live) =>
      (result.records['training']!['curve'] as { loss: number }[]).map(({ loss }) => loss);
    // f16 logarithms: 2^-11 of a logarithm of a few nats.
    losses(cached).forEach((loss, i) => expect(Math.abs(loss - losses(live)[i]!)).toBeLessThan(5e-3));
    expect(await readdir(join(folder, 'teacher-cache'))).toEqual(['teacher.safetensors']);
  });

  it('from a cache that was stopped on the way, and not from one of another teacher or text', async () => {
    const options = { steps: 2, cacheTop: 3 };
    const whole = await apply(options, { teachers: [teacher], directory: join(folder, 'whole') }, tinyModel(2));
    const stop = new AbortController();
    const directory = join(folder, 'parted');
    const stopped = apply(options, {
      ...{ teachers: [teacher], directory, signal: stop.signal },
      progress: ({ phase, done }) => void (phase === 'teacher' && done === 5 && stop.abort()),
    }, tinyModel(2)); // prettier-ignore
    await expect(stopped).rejects.toMatchObject({ code: 'STOPPED' });
    const resumed = await apply(options, { teachers: [teacher], directory }, tinyModel(2));
    expect(await bytes(resumed.weights)).toEqual(await bytes(whole.weights));
    const file = (name: string) => readFile(join(folder, name, 'teacher-cache', 'teacher.safetensors'));
    expect((await file('parted')).equals(await file('whole'))).toBe(true);
    const other = apply(options, { teachers: [tinyModel(9)], directory }, tinyModel(2));
    await expect(other).rejects.toMatchObject({ code: 'DISTILL_CACHE_FOREIGN', details: { differences: ['teacher'] } });
    const text = apply(options, { teachers: [teacher], directory, windows: countingWindows(8) }, tinyModel(2));
    await expect(text).rejects.toThrow(/it differs in text/);
    await expect(apply(options, { teachers: [teacher] })).rejects.toMatchObject({ code: 'DISTILL_DIRECTORY' });
  });

  it('that learn too: neither is pulled through the other', async () => {
    const config = distillConfig({ steps: 40, loss: 'kl,hard', mutual: true, learningRate: 0.02 });
    const students = [tinyModel(2), tinyModel(4, { hidden_size: 8 })] as const;
    const { run: course, weights } = await mutualDistill({ students, config, device, windows, seed: 1 });
    const [first, last] = [course.curve[0]!.terms!, course.curve.at(-1)!.terms!];
    for (const name of ['first:hard', 'second:hard']) expect(last[name], name).toBeLessThan(0.6 * first[name]!);
    expect(weights[1].get('model.norm.weight')!.shape).toEqual([8]);
    const same = await mutualDistill({
      students: [teacher, teacher],
      config: distillConfig({ steps: 1, loss: 'kl', mutual: true }),
      device,
      windows,
      seed: 1, // prettier-ignore
    });
    expect(same.run.curve[0]!.gradientNorm).toBeLessThan(1e-5);
  });
});

describe('distillTransform', () => {
  it('takes layers of the teacher, says where each tensor came from, and resumes with the same bytes', async () => {
    const options = { steps: 8, student: 'layers=1', microBatches: 2, saveEvery: 2 };
    const transform = distillTransform(options);
    expect(transform).toMatchObject({ name: 'distill', calibrated: true });
    const whole = await apply(options, { directory: join(folder, 'whole') });
    expect(whole.config).toMatchObject({ num_hidden_layers: 1 });
    expect(whole.records['model.layers.0.mlp.up_proj.weight']).toEqual({
      start: 'copied',
      from: 'model.layers.1.mlp.up_proj.weight',
    });
    expect(whole.weights.has('model.layers.1.mlp.up_proj.weight')).toBe(false);
    const stop = new AbortController();
    const directory = join(folder, 'parted');
    const stopped = apply(options, {
      directory,
      signal: stop.signal,
      progress: ({ done }) => void (done === 5 && stop.abort()),
    });
    await expect(stopped).rejects.toMatchObject({ code: 'STOPPED' });
    const resumed = await apply(options, { directory });
    expect(await bytes(resumed.weights)).toEqual(await bytes(whole.weights));
    expect(resumed.records).toEqual(whole.records);
    await expect(apply({ ...options, learningRate: 0.5 }, { directory })).rejects.toMatchObject({ code: 'TRAIN_STATE_SETTINGS' }); // prettier-ignore
  });

  it('starts from a config with random weights, in generations that teach one another', async () => {
    const config = tinyConfig({ num_hidden_layers: 1, hidden_size: 8, torch_dtype: 'bfloat16' });
    const result = await apply(
      { steps: 3, student: { kind: 'random', config }, generations: 2 },
      { directory: folder },
    );
    expect(result.config).toMatchObject({ hidden_size: 8, num_hidden_layers: 1, sliding_window: undefined });
    expect(result.weights.get('model.embed_tokens.weight')).toMatchObject({ shape: [11, 8], dtype: 'bf16' });
    expect(result.records['model.norm.weight']).toEqual({ start: 'random' });
    expect(Object.keys(result.records)).toEqual(expect.arrayContaining(['generation-0', 'generation-1']));
    expect((await readdir(folder)).sort()).toEqual(['generation-0', 'generation-1']);
  });

  it('plans from headers: what goes, moves, is trained, and what does not fit', () => {
    const weights = new Map([...teacher.weights].map(([name, { shape, byteLength }]) => [
      name,
      { name, shape, byteLength, kind: 'dense' as const, dtype: 'f32' as const },
    ])); // prettier-ignore
    const model = { config: tinyConfig(), architecture: teacher.architecture, weights };
    const plan = distillTransform({ steps: 5, student: 'layers=1', trainable: 'mlp.up_proj' }).plan(model);
    expect(plan.problems).toEqual([]);
    expect(plan.config).toMatchObject({ num_hidden_layers: 1 });
    const change = (name: string) => plan.changes.find((candidate) => candidate.name === name);
    expect(change('model.layers.0.mlp.up_proj.weight')).toMatchObject({ action: 'remove', after: null });
    expect(change('model.layers.1.mlp.up_proj.weight')).toMatchObject({
      action: 'train',
      after: { name: 'model.layers.0.mlp.up_proj.weight', dtype: 'f32' },
    });
    expect(change('model.layers.1.mlp.down_proj.weight')).toMatchObject({ action: 'copy' });
    expect(change('model.embed_tokens.weight')).toBeUndefined();
    expect(distillTransform({ steps: 5, student: 'layers=0,2' }).plan(model).problems[0]!.message).toMatch(
      /must be below 2, got 2/,
    );
    const random = { kind: 'random', config: tinyConfig({ vocab_size: 5 }) } as const;
    expect(distillTransform({ steps: 5, student: random }).plan(model).problems[0]!.code).toBe('DISTILL_VOCABULARY');
    expect(distillTransform({ steps: 5, trainable: 'factors' }).plan(model).problems[0]!.message).toMatch(
      /selects none/,
    );
    const codes = (options: Parameters<typeof distillTransform>[0], teachers: number) =>
      distillTransform(options)
        .plan(model, teachers)
        .problems.map(({ code }) => code);
    expect(codes({ steps: 5 }, 0)).toEqual(['DISTILL_TEACHER_MISSING']);
    expect(codes({ steps: 5, loss: 'hard' }, 0)).toEqual([]);
    expect(codes({ steps: 5, student: 'layers=1' }, 0)).toEqual([]);
    expect(codes({ steps: 5, mutual: true }, 0)).toEqual(['DISTILL_TEACHER_MISSING']);
    expect(codes({ steps: 5, cacheTop: 4 }, 2)).toEqual(['DISTILL_TEACHERS']);
    expect(codes({ steps: 5, teacherWeights: [1] }, 2)).toEqual(['DISTILL_TEACHERS']);
    expect(codes({ steps: 5 }, 1)).toEqual([]);
  });

  it.each([
    [{ steps: 0, lerningRate: 1 }, /steps: must be at least 1, got 0; lerningRate: unknown, did you mean learningRate/],
    [{ steps: 1, loss: 'kl:T=0' }, /temperature: must be more than 0, got 0/],
    [{ steps: 1, student: 'layers=2,1' }, /ascending/],
    [{ steps: 1, student: 'leyers' }, /student\.kind/],
    [
      { steps: 1, cacheTop: 4, loss: 'js,hidden', generations: 2 },
      /cacheTop: keeps the most.*keeps no states.*each generation/,
    ],
    [
      { steps: 1, mutual: true, loss: 'hard', teacherWeights: [1] },
      /mutual: students learn.*mutual: and teacherWeights/,
    ],
    [{ steps: 1, student: { kind: 'random', config: {} }, trainable: 'norms' }, /trainable: must be all/],
  ] as [DistillOptions, RegExp][])('refuses %j', (options, message) => {
    expect(() => distillTransform(options)).toThrow(message);
  });
});
