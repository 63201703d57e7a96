import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { validate } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { trainFolder } from '../node/train-folder.ts';
import { initialParameters } from './initial-parameters.ts';
import { nextTokenLoss } from './loss.ts';
import { countingTokens, tinyLlama } from './tiny-llama.fixture.ts';
import { trainRun } from './train-run.ts';
import { scheduleOf, trainerParts, trainingSchema } from './training-config.ts';

const device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pith-run-'));
});
afterEach(() => rm(folder, { recursive: true }));

const config = (given: object) => validate(trainingSchema, given, { operation: 'train' });
const windows = Array.from({ length: 12 }, (_, i) => Int32Array.of(0, ...countingTokens.subarray(8 * i, 8 * i + 8)));
const options = (given: object) => ({
  parameters: initialParameters(tinyLlama, { seed: 1, deviation: 0.1 }),
  loss: nextTokenLoss(tinyLlama),
  device,
  ...trainerParts(config(given), windows, 3),
});

describe('trainRun', () => {
  it('ends with the same parameters and the same curve when it was stopped on the way', async () => {
    const given = { steps: 12, batchSize: 2, microBatches: 2, learningRate: 0.01 };
    const whole = await trainRun(options(given), { steps: 12, folder: trainFolder(join(folder, 'whole'), 's') });
    const stop = new AbortController();
    const parted = trainFolder(join(folder, 'parted'), 's');
    const stopped = trainRun(options(given), {
      steps: 12,
      folder: parted,
      signal: stop.signal,
      onStep: ({ step }) => void (step === 6 && stop.abort()),
    });
    await expect(stopped).rejects.toMatchObject({ code: 'STOPPED' });
    const rest = await trainRun(options(given), { steps: 12, folder: parted });
    expect(rest.resumedFrom).toBe(7);
    expect(rest.parameters).toEqual(whole.parameters);
    expect([rest.curve, rest.finalLoss]).toEqual([whole.curve, whole.finalLoss]);
    expect(whole.curve.map(({ step }) => step)).toEqual([...Array(12).keys()]);
    const curve = (name: string) => readFile(join(folder, name, 'loss.jsonl'), 'utf8');
    expect(await curve('parted')).toBe(await curve('whole'));
    // A run that ended has nothing left to do.
    const again = await trainRun(options(given), { steps: 12, folder: parted });
    expect(again).toEqual({ ...whole, resumedFrom: 12 });
    const other = trainRun(options(given), { steps: 12, folder: trainFolder(join(folder, 'whole'), 'other') });
    await expect(other).rejects.toMatchObject({ code: 'TRAIN_STATE_SETTINGS' });
  });
});

describe('training fields', () => {
  it('have defaults, schedules, and refuse what they do not know', () => {
    expect(config({ steps: 10 })).toMatchObject({ learningRate: 1e-3, schedule: 'cosine', batchSize: 4, clipNorm: 1 });
    const rates = (schedule: string) =>
      [0, 1, 50, 95, 99].map(scheduleOf(config({ steps: 100, warmupSteps: 2, learningRate: 1, schedule })));
    expect(rates('constant')).toEqual([0.5, 1, 1, 1, 1]);
    expect(rates('wsd').map((rate) => rate.toFixed(1))).toEqual(['0.5', '1.0', '1.0', '0.5', '0.1']);
    expect(rates('cosine')[4]).toBeLessThan(1e-3);
    expect(() => config({ steps: 0, learningRat: 1 })).toThrow(
      /steps: must be at least 1, got 0; learningRat: unknown/,
    );
    expect(() => scheduleOf(config({ steps: 5, warmupSteps: 6, schedule: 'constant' }))).toThrow(/at most steps/);
  });
});
