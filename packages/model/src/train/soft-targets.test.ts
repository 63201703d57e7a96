import { randomStream } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { evaluate, f32, i32 } from './evaluate.fixture.ts';
import { softTargetLoss, topTargetLoss, type Divergence } from './soft-targets.ts';

const random = randomStream(5, 'logits');
const VOCABULARY = 7;
const draw = () => Array.from({ length: 3 * VOCABULARY }, () => 3 * random.normal());
const student = draw();
const teacher = draw();
const SHAPE = [1, 3, VOCABULARY];

const probabilities = (logits: readonly number[], temperature: number): number[][] =>
  [0, 1, 2].map((row) => {
    const scaled = logits.slice(row * VOCABULARY, (row + 1) * VOCABULARY).map((x) => Math.exp(x / temperature));
    const total = scaled.reduce((a, b) => a + b, 0);
    return scaled.map((x) => x / total);
  });
const kl = (p: readonly number[], q: readonly number[]) => p.reduce((sum, x, i) => sum + x * Math.log(x / q[i]!), 0);

/** The definition, in f64. */
function reference(logits: readonly number[], divergence: Divergence, temperature: number): number {
  const [p, q] = [probabilities(teacher, temperature), probabilities(logits, temperature)];
  const rows = p.map((row, i) => {
    if (divergence === 'forward') return kl(row, q[i]!);
    if (divergence === 'reverse') return kl(q[i]!, row);
    const middle = row.map((x, j) => (x + q[i]![j]!) / 2);
    return (kl(row, middle) + kl(q[i]!, middle)) / 2;
  });
  return (temperature ** 2 * rows.reduce((a, b) => a + b, 0)) / 3;
}

const slope = (at: (logits: readonly number[]) => number, i: number): number => {
  const moved = (by: number) => at(student.map((x, k) => (k === i ? x + by : x)));
  return (moved(1e-5) - moved(-1e-5)) / 2e-5;
};

describe('softTargetLoss', () => {
  const cases = (['forward', 'reverse', 'jensen-shannon'] as const).flatMap((divergence) =>
    [1, 2.5].map((temperature) => ({ divergence, temperature })),
  );
  it.each(cases)('$divergence at $temperature: value and gradient', async (options) => {
    const lossOf = (x: tf.Tensor, t: tf.Tensor) => softTargetLoss(x as tf.Tensor3D, t as tf.Tensor3D, options);
    const { value, gradient } = await evaluate(
      ({ x, t }) => {
        const found = tf.valueAndGrad((y: tf.Tensor) => lossOf(y, t!))(x!);
        return { value: found.value, gradient: found.grad };
      },
      { x: f32(SHAPE, student), t: f32(SHAPE, teacher) },
    );
    const { divergence, temperature } = options;
    expect(value![0]).toBeCloseTo(reference(student, divergence, temperature), 5);
    gradient!.forEach((g, i) => {
      expect(g).toBeCloseTo(
        slope((logits) => reference(logits, divergence, temperature), i),
        5,
      );
    });
  });

  it('is zero for the teacher itself, and finite for logits far apart', async () => {
    for (const { divergence, temperature } of cases) {
      const { output } = await evaluate(
        ({ t }) => softTargetLoss(t as tf.Tensor3D, t as tf.Tensor3D, { divergence, temperature }),
        { t: f32(SHAPE, teacher) },
      );
      expect(Math.abs(output![0]!)).toBeLessThan(1e-6);
      const far = await evaluate(
        ({ x, t }) => softTargetLoss(x as tf.Tensor3D, t as tf.Tensor3D, { divergence, temperature }),
        { x: f32([1, 1, 3], [200, 0, -200]), t: f32([1, 1, 3], [-200, 0, 200]) },
      );
      expect(Number.isFinite(far['output']![0])).toBe(true);
    }
  });
});

describe('topTargetLoss', () => {
  const temperature = 2;
  const p = probabilities(teacher, temperature);
  const ids = p.map((row) => [...row.keys()].sort((a, b) => row[b]! - row[a]!).slice(0, 3));
  const top = ids.map((row, i) => row.map((id) => p[i]![id]!));
  const rest = top.map((row) => 1 - row.reduce((a, b) => a + b, 0));
  const coarse = (logits: readonly number[]): number => {
    const q = probabilities(logits, temperature);
    const sums = ids.map((row, i) => {
      const chosen = row.map((id) => q[i]![id]!);
      return kl([...top[i]!, rest[i]!], [...chosen, 1 - chosen.reduce((a, b) => a + b, 0)]);
    });
    return (temperature ** 2 * sums.reduce((a, b) => a + b, 0)) / 3;
  };

  it('counts all other tokens as one: value and gradient', async () => {
    const { value, gradient } = await evaluate(
      ({ x, ids: tokens, probabilities: shares, rest: left }) => {
        const targets = {
          ids: tokens as tf.Tensor3D,
          probabilities: shares as tf.Tensor3D,
          rest: left as tf.Tensor2D,
        };
        const found = tf.valueAndGrad((y: tf.Tensor) => topTargetLoss(y as tf.Tensor3D, targets, temperature))(x!);
        return { value: found.value, gradient: found.grad };
      },
      {
        x: f32(SHAPE, student),
        ids: i32([1, 3, 3], ids.flat()),
        probabilities: f32([1, 3, 3], top.flat()),
        rest: f32([1, 3], rest),
      },
    );
    expect(value![0]).toBeCloseTo(coarse(student), 5);
    gradient!.forEach((g, i) => expect(g).toBeCloseTo(slope(coarse, i), 5));
    expect(value![0]).toBeLessThan(reference(student, 'forward', temperature));
  });
});
