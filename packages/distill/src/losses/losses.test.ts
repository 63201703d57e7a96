import type { AttentionStates } from '@pith/model';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { expectGradient, normal, valueOf, type Input, type Named } from '../testing/gradient.fixture.ts';
import { attentionMapLoss, mostRelationHeads, relationLoss } from './attention.ts';
import { hiddenLoss } from './hidden.ts';
import { layerMapProblems, layerPairs } from './layer-map.ts';

const TOKENS = 5;

describe('hiddenLoss', () => {
  const inputs = {
    student: normal('student', [2, TOKENS, 6]),
    teacher: normal('teacher', [2, TOKENS, 6]),
    wide: normal('wide', [2, TOKENS, 9]),
    projection: normal('projection', [9, 6], 0.4),
  };
  const loss =
    (measure: 'mse' | 'cosine', projected: boolean) =>
    (given: Named): tf.Scalar =>
      hiddenLoss(
        given['student'] as tf.Tensor3D,
        given[projected ? 'wide' : 'teacher'] as tf.Tensor3D,
        measure,
        projected ? (given['projection'] as tf.Tensor2D) : undefined,
      );

  it.each(['mse', 'cosine'] as const)('%s: gradients of states and projection', async (measure) => {
    await expectGradient(loss(measure, false), inputs, ['student']);
    await expectGradient(loss(measure, true), inputs, ['student', 'projection']);
  });

  it('is zero for the same states, and one for nothing (mse) or for what stands at right angles (cosine)', async () => {
    const same = { ...inputs, student: inputs.teacher };
    expect(await valueOf(loss('mse', false), same)).toBe(0);
    expect(await valueOf(loss('cosine', false), same)).toBeCloseTo(0, 6);
    const zeros = { dtype: 'f32', shape: [2, TOKENS, 6], data: new Float32Array(60) } as const;
    expect(await valueOf(loss('mse', false), { ...inputs, student: zeros })).toBeCloseTo(1, 6);
    const along = (axis: number): Input => ({
      dtype: 'f32',
      shape: [2, TOKENS, 6],
      data: Float32Array.from({ length: 60 }, (_, i) => (i % 6 === axis ? 3 : 0)),
    });
    expect(await valueOf(loss('cosine', false), { ...inputs, student: along(0), teacher: along(1) })).toBeCloseTo(1, 6);
  });
});

/** States of a model with so many heads. */
const states = (name: string, heads: number, groups: number, headDim: number) => ({
  [`${name}.queries`]: normal(`${name}.queries`, [2, heads, TOKENS, headDim]),
  [`${name}.keys`]: normal(`${name}.keys`, [2, groups, TOKENS, headDim]),
  [`${name}.values`]: normal(`${name}.values`, [2, groups, TOKENS, headDim]),
});

const causal = () =>
  tf.tensor2d(
    Float32Array.from({ length: TOKENS * TOKENS }, (_, i) => (i % TOKENS <= Math.floor(i / TOKENS) ? 0 : -Infinity)),
    [TOKENS, TOKENS],
  );
const of = (given: Named, name: string): AttentionStates => ({
  queries: given[`${name}.queries`] as tf.Tensor4D,
  keys: given[`${name}.keys`] as tf.Tensor4D,
  values: given[`${name}.values`] as tf.Tensor4D,
  mask: causal(),
  scale: 1 / Math.sqrt(given[`${name}.queries`]!.shape[3]!),
  softCap: null,
});

describe('attentionMapLoss', () => {
  const inputs = { ...states('student', 4, 2, 4), ...states('teacher', 4, 4, 6) };
  const loss = (measure: 'kl' | 'mse') => (given: Named) =>
    attentionMapLoss(of(given, 'student'), of(given, 'teacher'), measure);

  it.each(['kl', 'mse'] as const)('%s: gradients of queries and keys, grouped ones too', async (measure) => {
    await expectGradient(loss(measure), inputs, ['student.queries', 'student.keys']);
  });

  it('kl is the divergence of the probabilities, worked in f64', async () => {
    const probabilities = (name: 'student' | 'teacher', groups: number, headDim: number): number[][] => {
      const q = inputs[`${name}.queries`]!.data;
      const k = inputs[`${name}.keys`]!.data;
      const rows: number[][] = [];
      for (let b = 0; b < 2; b++) {
        for (let h = 0; h < 4; h++) {
          const group = Math.floor((h * groups) / 4);
          for (let i = 0; i < TOKENS; i++) {
            const scores = Array.from({ length: i + 1 }, (_, j) => {
              let sum = 0;
              for (let d = 0; d < headDim; d++) {
                sum +=
                  q[((b * 4 + h) * TOKENS + i) * headDim + d]! * k[((b * groups + group) * TOKENS + j) * headDim + d]!;
              }
              return Math.exp(sum / Math.sqrt(headDim));
            });
            const total = scores.reduce((a, x) => a + x, 0);
            rows.push(scores.map((x) => x / total));
          }
        }
      }
      return rows;
    };
    const [own, target] = [probabilities('student', 2, 4), probabilities('teacher', 4, 6)];
    const sum = target.reduce((all, p, r) => all + p.reduce((a, x, i) => a + x * Math.log(x / own[r]![i]!), 0), 0);
    expect(await valueOf(loss('kl'), inputs)).toBeCloseTo(sum / target.length, 5);
    expect(await valueOf((given) => attentionMapLoss(of(given, 'teacher'), of(given, 'teacher'), 'kl'), inputs)).toBe(
      0,
    );
  });
});

describe('relationLoss', () => {
  // 4 heads of 6, 2 key heads, against 6 heads of 8, 3 key heads: 12 and 24 wide values, 24 and 48 wide queries.
  const inputs = { ...states('student', 4, 2, 6), ...states('teacher', 6, 3, 8) };
  const loss = (pairs: readonly ('qk' | 'qq' | 'kk' | 'vv')[]) => (given: Named) =>
    relationLoss(of(given, 'student'), of(given, 'teacher'), pairs, 3);

  it('has the gradients of finite differences across head counts', async () => {
    await expectGradient(loss(['qk', 'vv']), inputs, ['student.queries', 'student.keys', 'student.values']);
    await expectGradient(loss(['qq', 'kk']), inputs, ['student.queries', 'student.keys']);
  });

  it('is zero for a model that is its own teacher and does not see tokens to come', async () => {
    const self = (given: Named) => relationLoss(of(given, 'student'), of(given, 'student'), ['qk', 'vv'], 4);
    expect(await valueOf(self, inputs)).toBe(0);
    const value = await valueOf(loss(['vv']), inputs);
    const last = inputs['student.values']!.data.slice();
    // The first token sees itself alone: whatever the others are, its row is certain in both.
    for (let i = 0; i < 2 * 2 * TOKENS * 6; i++) if (Math.floor(i / 6) % TOKENS === TOKENS - 1) last[i] = 100;
    const changed = { ...inputs, 'student.values': { ...inputs['student.values']!, data: last } };
    expect(await valueOf(loss(['vv']), changed)).not.toBeCloseTo(value, 3);
    expect(Number.isFinite(await valueOf(loss(['vv']), changed))).toBe(true);
  });

  it('finds the most relation heads that fit', () => {
    const student = { heads: 4, keyValueHeads: 2, headDim: 6 };
    const teacher = { heads: 6, keyValueHeads: 3, headDim: 8 };
    expect(mostRelationHeads(['qk', 'vv'], [student, teacher])).toBe(6);
    expect(mostRelationHeads(['vv'], [{ heads: 5, keyValueHeads: 1, headDim: 7 }, teacher])).toBe(1);
  });
});

describe('layerPairs', () => {
  it('spreads blocks, takes the last, or what is given', () => {
    expect(layerPairs('uniform', 3, 12)).toEqual([[0, 3], [1, 7], [2, 11]]); // prettier-ignore
    expect(layerPairs('uniform', 2, 5)).toEqual([[0, 1], [1, 4]]); // prettier-ignore
    expect(layerPairs('uniform', 3, 2)).toEqual([[0, 0], [1, 0], [2, 1]]); // prettier-ignore
    expect(layerPairs('last', 3, 12)).toEqual([[2, 11]]);
    expect(layerPairs([[0, 5]], 3, 12)).toEqual([[0, 5]]);
    expect(layerMapProblems([[3, 5], [0, 12]], 3, 12)).toHaveLength(2); // prettier-ignore
  });
});
