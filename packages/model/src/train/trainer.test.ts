import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isPithError } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLossLog } from '../node/loss-log.ts';
import { readTrainState, saveTrainState } from '../node/train-state-folder.ts';
import { adamw } from './adamw.ts';
import type { BatchSource } from './batch-source.ts';
import { initialParameters } from './initial-parameters.ts';
import { nextTokenLoss } from './loss.ts';
import { cosineSchedule } from './schedule.ts';
import { countingTokens, tinyLlama } from './tiny-llama.fixture.ts';
import { tokenWindows } from './token-windows.ts';
import { createTrainer, type StepRecord, type TrainerOptions } from './trainer.ts';

const device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pith-train-'));
});
afterEach(() => rm(folder, { recursive: true }));

const STEPS = 60;
const SETTINGS = 'tiny llama, seed 1';

const options = (): TrainerOptions => ({
  parameters: initialParameters(tinyLlama, { seed: 1, deviation: 0.1 }),
  loss: nextTokenLoss(tinyLlama),
  batches: tokenWindows({ tokens: countingTokens, bos: 0, context: 8, batchSize: 4, seed: 2 }),
  optimizer: adamw({ beta2: 0.95 }),
  schedule: cosineSchedule({ steps: STEPS, warmupSteps: 5, peak: 1e-2 }),
  device,
});

async function curve(trainerOptions: TrainerOptions): Promise<{ records: StepRecord[]; weights: Buffer }> {
  const trainer = await createTrainer(trainerOptions);
  const records: StepRecord[] = [];
  await trainer.train({ steps: STEPS, onStep: (record) => void records.push(record) });
  const weights = bytesOf(trainer.state().tensors);
  await trainer.dispose();
  return { records, weights };
}

const bytesOf = (tensors: Readonly<Record<string, { readonly data: Float32Array }>>): Buffer =>
  Buffer.concat(
    Object.keys(tensors)
      .sort()
      .map((name) =>
        Buffer.from(tensors[name]!.data.buffer, tensors[name]!.data.byteOffset, tensors[name]!.data.byteLength),
      ),
  );

describe('training', () => {
  it('learns a rule, from the loss of a guess to almost none, and does it again bit for bit', async () => {
    const first = await curve(options());
    expect(first.records).toHaveLength(STEPS);
    expect(first.records[0]!.loss).toBeGreaterThan(0.8 * Math.log(11));
    expect(first.records.at(-1)!.loss).toBeLessThan(0.45); // The first token of a window cannot be known: log(9) / 8 = 0.27.
    const second = await curve(options());
    expect(second.records).toEqual(first.records);
    expect(second.weights.equals(first.weights)).toBe(true);
  });

  it('ends with the same bytes when it is stopped, saved, read and resumed in another trainer', async () => {
    const whole = await curve(options());
    const stop = new AbortController();
    const trainer = await createTrainer(options());
    const log = await openLossLog(join(folder, 'loss.jsonl'), 0);
    const run = trainer.train({
      steps: STEPS,
      signal: stop.signal,
      onStep: async (record) => {
        await log.append(record);
        if (trainer.step === 17 || trainer.step === 23) await saveTrainState(folder, trainer.state(), SETTINGS);
        if (trainer.step === 29) stop.abort(); // Six steps past the last saved state: they are done again.
      },
    });
    await expect(run).rejects.toMatchObject({ code: 'STOPPED', kind: 'stopped' });
    await trainer.dispose();
    expect((await readdir(folder)).sort()).toEqual(['loss.jsonl', 'step-00000023']);

    const state = await readTrainState(folder, SETTINGS);
    expect(state?.step).toBe(23);
    const resumed = await createTrainer({ ...options(), state: state! });
    const restLog = await openLossLog(join(folder, 'loss.jsonl'), resumed.step);
    await resumed.train({ steps: STEPS, onStep: (record) => restLog.append(record) });
    expect(bytesOf(resumed.state().tensors).equals(whole.weights)).toBe(true);
    await resumed.dispose();
    const lines = (await readFile(join(folder, 'loss.jsonl'), 'utf8')).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as StepRecord)).toEqual(whole.records);
  });

  it('refuses a state of other settings or of another model', async () => {
    const trainer = await createTrainer(options());
    await saveTrainState(folder, trainer.state(), SETTINGS);
    await trainer.dispose();
    await expect(readTrainState(folder, 'seed 2')).rejects.toMatchObject({ code: 'TRAIN_STATE_SETTINGS' });
    const { 'model.norm.weight': _, ...tensors } = (await readTrainState(folder, SETTINGS))!.tensors;
    await expect(createTrainer({ ...options(), state: { step: 0, tensors } })).rejects.toThrow(
      /model\.norm\.weight is missing/,
    );
    expect(await readTrainState(join(folder, 'nowhere'), SETTINGS)).toBeNull();
  });

  it('hears a signal that is aborted by a timer, whatever the device does to the event loop', async () => {
    const trainer = await createTrainer(options());
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 30);
    await expect(trainer.train({ steps: 1e6, signal: stop.signal })).rejects.toMatchObject({ code: 'STOPPED' });
    await trainer.dispose();
  });

  it('reports progress', async () => {
    const trainer = await createTrainer(options());
    const events: unknown[] = [];
    await trainer.train({ steps: 2, progress: (event) => events.push(event) });
    await trainer.dispose();
    expect(events).toEqual([
      { phase: 'train', item: expect.stringMatching(/^loss 2\.\d{3}$/) as string, done: 1, total: 2, unit: 'step' },
      { phase: 'train', item: expect.stringMatching(/^loss 2\.\d{3}$/) as string, done: 2, total: 2, unit: 'step' },
    ]);
  });
});

describe('divergence', () => {
  // loss = sum of w * x: the third batch holds an infinity.
  const batches: BatchSource = {
    signature: { x: { shape: [2] } },
    batch: (step) => ({ x: { dtype: 'f32', shape: [2], data: Float32Array.of(1, step === 2 ? Infinity : 2) } }),
  };

  it('stops with a typed error and keeps the state before the step', async () => {
    const trainer = await createTrainer({
      parameters: { w: { dtype: 'f32', shape: [2], data: Float32Array.of(1, 1) } },
      loss: (weights, batch) => tf.sum(tf.mul(weights['w']!, batch['x']!)),
      batches,
      optimizer: adamw(),
      schedule: () => 0.125,
      device,
    });
    const records: StepRecord[] = [];
    const error: unknown = await trainer
      .train({ steps: 5, onStep: (record) => void records.push(record) })
      .catch((reason: unknown) => reason);
    expect(isPithError(error) && error.code).toBe('TRAINING_DIVERGED');
    expect(error).toMatchObject({ details: { step: 2, loss: 'Infinity' } });
    expect(records.map(({ step }) => step)).toEqual([0, 1]);
    expect(trainer.step).toBe(2);
    const { data } = trainer.state().tensors['w']!;
    // Two steps of Adam on a constant gradient: 0.125 each.
    expect(data[0]).toBeCloseTo(0.75, 5);
    expect(data[1]).toBeCloseTo(0.75, 5);
    await trainer.dispose();
  });
});
