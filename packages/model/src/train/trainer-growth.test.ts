import { randomStream } from '@pith/tensor-core';
import type { HostTensor } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, it } from 'vitest';
import { adamw } from './adamw.ts';
import type { BatchSource } from './batch-source.ts';
import { initialParameters } from './initial-parameters.ts';
import { nextTokenLoss } from './loss.ts';
import { countingTokens, tinyLlama } from './tiny-llama.fixture.ts';
import { tokenWindows } from './token-windows.ts';
import type { TrainState } from './train-state.ts';
import { createTrainer, type StepRecord, type TrainerOptions } from './trainer.ts';

const device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());

const parameters = initialParameters(tinyLlama, { seed: 1, deviation: 0.1 });
const windows = (batchSize: number) => tokenWindows({ tokens: countingTokens, bos: 0, context: 8, batchSize, seed: 2 });
const options = (): TrainerOptions => ({
  parameters,
  loss: nextTokenLoss(tinyLlama),
  batches: windows(4),
  optimizer: adamw({ weightDecay: 0 }),
  schedule: () => 1e-2,
  device,
});

async function run(
  changes: Partial<TrainerOptions>,
  steps: number,
): Promise<{ records: StepRecord[]; state: TrainState }> {
  const trainer = await createTrainer({ ...options(), ...changes });
  const records: StepRecord[] = [];
  await trainer.train({ steps, onStep: (record) => void records.push(record) });
  const state = trainer.state();
  await trainer.dispose();
  return { records, state };
}

const vector = (...values: number[]): HostTensor<'f32'> => ({
  dtype: 'f32',
  shape: [values.length],
  data: Float32Array.from(values),
});

/** loss = sum of w * x, so that the gradient is x. */
const linear = (xs: readonly number[][]): Pick<TrainerOptions, 'loss' | 'batches'> => ({
  loss: (weights, batch) => tf.sum(tf.mul(weights['w']!, batch['x']!)),
  batches: {
    signature: { x: { shape: [xs[0]!.length] } },
    batch: (step) => ({ x: vector(...xs[step % xs.length]!) }),
  },
});

describe('accumulation', () => {
  it('is the step of one large batch', async () => {
    const whole = await run({}, 5);
    const parts = await run({ batches: windows(1), microBatches: 4 }, 5);
    parts.records.forEach(({ loss, gradientNorm }, i) => {
      // f32 sums in another order: some 1e-6 of relative difference, which the first Adam steps may double.
      expect(Math.abs(loss / whole.records[i]!.loss - 1)).toBeLessThan(1e-4);
      expect(Math.abs(gradientNorm / whole.records[i]!.gradientNorm - 1)).toBeLessThan(1e-3);
    });
  });

  it('resumes bit for bit', async () => {
    const changes = { batches: windows(1), microBatches: 3 };
    const whole = await run(changes, 6);
    const { state } = await run(changes, 4);
    const rest = await run({ ...changes, state }, 6);
    expect(rest.records).toEqual(whole.records.slice(4));
    expect(rest.state).toEqual(whole.state);
  });

  it('averages gradients, worked by hand', async () => {
    const start = { w: vector(0, 0) };
    const { records } = await run(
      { ...linear([[3, 0], [3, 8]]), parameters: start, microBatches: 2, clipNorm: null }, // prettier-ignore
      1,
    );
    expect(records[0]!.gradientNorm).toBe(5); // (3, 0) and (3, 8) have the mean (3, 4).
  });
});

describe('masks', () => {
  it('hold values at zero through the optimizer and count in no norm', async () => {
    const trainer = await createTrainer({
      ...options(),
      ...linear([[3, 4, 12]]),
      parameters: { w: vector(1, 2, 3) },
      masks: { w: vector(1, 1, 0) },
      clipNorm: null,
    });
    expect([...trainer.state().tensors['w']!.data]).toEqual([1, 2, 0]);
    const norms: number[] = [];
    await trainer.train({ steps: 3, onStep: ({ gradientNorm }) => void norms.push(gradientNorm) });
    expect(norms).toEqual([5, 5, 5]);
    expect(trainer.state().tensors['w']!.data[2]).toBe(0);
    expect(trainer.state().tensors['w']!.data[0]).toBeLessThan(1);
    trainer.setMasks({ w: vector(0, 1, 1) });
    await trainer.train({ steps: 5 });
    expect(trainer.state().tensors['w']!.data[0]).toBe(0);
    expect(trainer.state().tensors['w']!.data[2]).toBeLessThan(0); // Free again, it follows its gradient.
    expect(() => trainer.setMasks({ v: vector(1), w: vector(1, 1) })).toThrow(
      /mask of v, which is not trained; w is \[3\], its mask is \[2\]/,
    );
    await trainer.dispose();
  });
});

describe('what is trained', () => {
  it('leaves frozen tensors alone and takes no gradient of them', async () => {
    const norms = Object.fromEntries(Object.entries(parameters).filter(([name]) => name.endsWith('norm.weight')));
    const frozen = Object.fromEntries(Object.entries(parameters).filter(([name]) => !(name in norms)));
    const before = structuredClone(frozen);
    const { records, state } = await run({ parameters: norms, frozen }, 20);
    expect(frozen).toEqual(before);
    expect(Object.keys(state.tensors).filter((name) => !name.includes('#'))).toEqual(Object.keys(norms));
    expect(records.at(-1)!.loss).toBeLessThan(records[0]!.loss);
  });

  it('has a rate of its own where it is given one', async () => {
    const { state } = await run(
      {
        loss: (weights) => tf.add(tf.sum(weights['a']!), tf.sum(weights['b']!)),
        parameters: { a: vector(0), b: vector(0) },
        batches: { signature: {}, batch: () => ({}) },
        rateScale: (name) => (name === 'b' ? 0.25 : 1),
        schedule: () => 0.125,
      },
      1,
    );
    expect(state.tensors['a']!.data[0]).toBeCloseTo(-0.125, 6);
    expect(state.tensors['b']!.data[0]).toBeCloseTo(-0.03125, 6);
  });

  it('reports the parts of a loss, weighted by numbers of the step', async () => {
    const changes: Partial<TrainerOptions> = {
      parameters: { w: vector(1) },
      batches: { signature: {}, batch: () => ({}) },
      numbers: (step) => ({ weight: 2 ** step }),
      loss: (weights, batch) => {
        const square: tf.Scalar = tf.sum(tf.square(weights['w']!));
        const four = tf.scalar(4);
        return { loss: tf.add(tf.mul(square, batch['weight'] as tf.Scalar), four), terms: { square, four } };
      },
      schedule: () => 1e-9,
    };
    for (const microBatches of [1, 2]) {
      const { records } = await run({ ...changes, microBatches }, 3);
      expect(records.map(({ loss }) => loss)).toEqual([5, 6, 8]);
      expect(records[2]!.terms).toEqual({ square: 1, four: 4 });
    }
  });

  it('refuses options that contradict one another, all at once', async () => {
    const wrong = createTrainer({
      ...options(),
      parameters: { w: vector(1) },
      frozen: { w: vector(1) },
      masks: { v: vector(1) },
      microBatches: 0,
      rateScale: () => 0,
    });
    await expect(wrong).rejects.toThrow(
      /mask of v, .* microBatches .* got 0; w is both trained and frozen; rateScale of w must be above 0, got 0/,
    );
    await expect(createTrainer({ ...options(), divergence: { factor: 1 } })).rejects.toThrow(/factor must be above 1/);
  });
});

describe('a loss that rises and stays high', () => {
  const noise = randomStream(1, 'noise');
  const levels = Array.from({ length: 60 }, (_, step) => (step < 20 ? 1 : 9) + 0.1 * noise.uniform());
  const batches: BatchSource = {
    signature: { x: { shape: [1] } },
    batch: (step) => ({ x: vector(levels[step]!) }),
  };
  const rising: Partial<TrainerOptions> = {
    parameters: { w: vector(0) },
    batches,
    loss: (weights, batch) => tf.add(tf.sum(batch['x']!), tf.sum(weights['w']!)),
    schedule: () => 1e-3,
    clipNorm: null,
    divergence: { factor: 4, steps: 5, window: 16 },
  };

  it('ends the run with the state before it rose', async () => {
    const trainer = await createTrainer({ ...options(), ...rising });
    const seen: number[] = [];
    const ended = trainer.train({ steps: 60, onStep: () => void seen.push(trainer.state().step) });
    await expect(ended).rejects.toMatchObject({ code: 'TRAINING_DIVERGED', details: { step: 24, keptStep: 19 } });
    expect(trainer.step).toBe(19);
    // While it lasts, what would be saved is the state before it.
    expect(seen.slice(17)).toEqual([18, 19, 20, 19, 19, 19, 19]);
    const { state } = await run(rising, 19);
    expect(trainer.state()).toEqual(state);
    await trainer.dispose();
  });

  it('is found at the same step by a resumed run', async () => {
    const { state } = await run(rising, 18);
    const trainer = await createTrainer({ ...options(), ...rising, state });
    await expect(trainer.train({ steps: 60 })).rejects.toMatchObject({ details: { step: 24, keptStep: 19 } });
    await trainer.dispose();
  });

  it('is let pass where it is short, or where nobody watches', async () => {
    const short = { ...rising, divergence: { factor: 4, steps: 50, window: 16 } };
    expect((await run(short, 30)).state.step).toBe(30);
    expect((await run({ ...rising, divergence: null }, 60)).state.step).toBe(60);
  });
});
