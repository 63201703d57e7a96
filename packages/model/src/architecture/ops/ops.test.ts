import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import { headAttention, splitHeads, type AttentionFacts, type StretchLimits } from './attention.ts';
import type { AttentionInputs } from '../architecture.ts';
import { causalMask } from './masks.ts';
import { rmsNorm } from './norms.ts';
import { rotaryFrequencies, rotaryTable, rotate } from './rotary.ts';

// tfjs advertises its Node binding on the console otherwise.
tf.env().set('IS_TEST', true);
const close = (a: ArrayLike<number>, b: ArrayLike<number>, digits = 5) => {
  expect(a.length).toBe(b.length);
  Array.from(a).forEach((value, i) => expect(value).toBeCloseTo(b[i], digits));
};
const made = (shape: number[], seed: number) =>
  tf.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(seed + 2.3 * i + (i * i) / 91)),
    shape,
  );

describe('causalMask', () => {
  const picture = (...args: Parameters<typeof causalMask>) => {
    const mask = causalMask(...args);
    const columns = args[0] + args[1];
    return Array.from({ length: args[0] }, (_, row) =>
      Array.from(mask.subarray(row * columns, (row + 1) * columns), (value) => (value === 0 ? 'x' : '.')).join(''),
    );
  };

  it('a token sees itself and all before it', () => {
    expect(picture(3, 0, 0, null)).toEqual(['x..', 'xx.', 'xxx']);
  });

  it('or the last few', () => {
    expect(picture(5, 0, 0, 2)).toEqual(['x....', 'xx...', '.xx..', '..xx.', '...xx']);
  });

  it('earlier tokens lie in slots before the new ones, some still empty', () => {
    expect(picture(2, 4, 3, null)).toEqual(['xxx.x.', 'xxx.xx']);
    expect(picture(2, 4, 3, 2)).toEqual(['..x.x.', '....xx']);
    expect(picture(1, 3, 0, null)).toEqual(['...x']);
  });
});

describe('rotary embedding', () => {
  const rope = { theta: 10000, dim: 8, interleaved: false, scaling: { kind: 'none' } } as const;

  it('frequencies fall from 1 by powers of theta', () => {
    close(rotaryFrequencies(rope), [1, 0.1, 0.01, 0.001], 7);
  });

  it('linear scaling divides them all', () => {
    const scaled = rotaryFrequencies({ ...rope, scaling: { kind: 'linear', factor: 4 } });
    close(scaled, [0.25, 0.025, 0.0025, 0.00025], 7);
  });

  it('llama3 scaling keeps short waves, stretches long ones, blends between', () => {
    const scaling = {
      kind: 'llama3',
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalMaxPositions: 64,
    } as const;
    // Wave lengths 6.28, 62.8, 628: below 16 kept, above 64 stretched; 62.8 lies between, smooth = (64 / 62.83 - 1) / 3.
    const smooth = (64 / (2 * Math.PI * 10) - 1) / 3;
    close(
      rotaryFrequencies({ ...rope, theta: 1000, dim: 6, scaling }),
      [1, ((1 - smooth) / 8 + smooth) * 0.1, 0.01 / 8],
      7,
    );
  });

  it('turns value i of the first half against value i of the second, by position times frequency', () => {
    const four = { ...rope, dim: 4 };
    const { cos, sin } = rotaryTable(four, 5, 6);
    const [a, b, c, d] = [1, 2, 3, 4];
    const at = [tf.tensor(cos, [1, 2]), tf.tensor(sin, [1, 2])] as const;
    const turned = rotate(tf.tensor([a, b, c, d], [1, 4]), ...at, four).dataSync();
    const angles = [5, 0.05];
    close(turned, [
      a * Math.cos(angles[0]) - c * Math.sin(angles[0]),
      b * Math.cos(angles[1]) - d * Math.sin(angles[1]),
      c * Math.cos(angles[0]) + a * Math.sin(angles[0]),
      d * Math.cos(angles[1]) + b * Math.sin(angles[1]),
    ]);
  });
});

it('rmsNorm: by hand', () => {
  const normed = rmsNorm(tf.tensor([3, 4, 0, 0], [2, 2]), tf.tensor([1, 2]), 0.5).dataSync();
  close(normed, [3 / Math.sqrt(13), 8 / Math.sqrt(13), 0, 0]);
});

describe('headAttention', () => {
  const shape: AttentionFacts = {
    kind: 'decoder',
    heads: 4,
    keyValueHeads: 2,
    headDim: 6,
    attentionScale: 1 / Math.sqrt(6),
    attentionSoftCap: null,
  };
  const rotaryAttention = (
    facts: AttentionFacts,
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    inputs: AttentionInputs,
    limits?: StretchLimits,
  ) => {
    const turned = (x: tf.Tensor, heads: number) => rotate(splitHeads(x, heads, 6), inputs.cos!, inputs.sin!, rope);
    const states = { queries: turned(query, 4), keys: turned(key, 2), values: splitHeads(value, 2, 6) };
    return { mixed: headAttention(facts, states, inputs, limits), ...states };
  };
  const [batch, tokens] = [2, 9];
  const rope = { theta: 100, dim: 6, interleaved: false, scaling: { kind: 'none' } } as const;
  const inputs = (start: number, end: number, past: number, window: number | null = null) => {
    const { cos, sin } = rotaryTable(rope, start, end);
    return {
      cos: tf.tensor(cos, [end - start, 3]),
      sin: tf.tensor(sin, [end - start, 3]),
      mask: tf.tensor(causalMask(end - start, past, start, window), [end - start, past + end - start]),
    };
  };
  const query = made([batch, tokens, 24], 1);
  const [key, value] = [made([batch, tokens, 12], 2), made([batch, tokens, 12], 3)];

  /** One head at a time, f64, the definition. */
  function direct(window: number): Float64Array {
    const [q, k, v] = [query, key, value].map((x) => x.arraySync() as number[][][]);
    const frequencies = rotaryFrequencies(rope);
    const turn = (x: number[], position: number) =>
      x.map((_, i) => {
        const angle = position * frequencies[i % 3];
        return i < 3
          ? x[i] * Math.cos(angle) - x[i + 3] * Math.sin(angle)
          : x[i] * Math.cos(angle) + x[i - 3] * Math.sin(angle);
      });
    const out = new Float64Array(batch * tokens * 24);
    for (let b = 0; b < batch; b++)
      for (let head = 0; head < 4; head++)
        for (let t = 0; t < tokens; t++) {
          const rows = (x: number[][][], s: number, h: number) => x[b][s].slice(h * 6, h * 6 + 6);
          const own = turn(rows(q, t, head), t);
          const seen = Array.from({ length: t + 1 }, (_, s) => s).filter((s) => s > t - window);
          const scores = seen.map((s) => {
            const other = turn(rows(k, s, head >> 1), s);
            return Math.exp(own.reduce((sum, x, i) => sum + x * other[i], 0) / Math.sqrt(6));
          });
          const total = scores.reduce((x, y) => x + y, 0);
          seen.forEach((s, n) =>
            rows(v, s, head >> 1).forEach((x, i) => {
              out[(b * tokens + t) * 24 + head * 6 + i] += (scores[n] / total) * x;
            }),
          );
        }
    return out;
  }

  it.each([
    [null, Infinity],
    [3, 3],
  ])('window %s: is the definition, whole and in stretches', (window, reach) => {
    const wanted = direct(reach);
    for (const most of [Infinity, 300, 1]) {
      const limits = { mostScores: most, fewestQueries: 2 };
      const { mixed } = rotaryAttention(shape, query, key, value, inputs(0, tokens, 0, window), limits);
      close(mixed.dataSync(), wanted, 5);
    }
  });

  it('token by token with the past is the same as all at once, padded slots ignored', () => {
    const whole = rotaryAttention(shape, query, key, value, inputs(0, tokens, 0, 4));
    const first = 5;
    const part = (x: tf.Tensor, start: number, end: number) =>
      tf.slice(x, [0, start, 0], [batch, end - start, x.shape[2]!]);
    const begun = rotaryAttention(
      shape,
      part(query, 0, first),
      part(key, 0, first),
      part(value, 0, first),
      inputs(0, first, 0, 4),
    );
    const slots = (x: tf.Tensor) =>
      tf.pad(
        x,
        [
          [0, 0],
          [0, 0],
          [0, 2],
          [0, 0],
        ],
        99,
      );
    const past = { keys: slots(begun.keys), values: slots(begun.values) };
    const rest = rotaryAttention(
      shape,
      part(query, first, tokens),
      part(key, first, tokens),
      part(value, first, tokens),
      {
        ...inputs(first, tokens, first + 2, 4),
        past,
      },
    );
    close(rest.mixed.dataSync(), part(whole.mixed, first, tokens).dataSync());
    close(rest.keys.dataSync(), tf.slice(whole.keys, [0, 0, first, 0], [batch, 2, tokens - first, 6]).dataSync());
  });

  it('has gradients with respect to query, key and value', () => {
    // Under test tfjs takes what a custom gradient keeps for a leak.
    tf.env().set('IS_TEST', false);
    const loss = (...x: tf.Tensor[]) =>
      tf.sum(
        tf.mul(rotaryAttention(shape, x[0], x[1], x[2], inputs(0, tokens, 0)).mixed, made([batch, tokens, 24], 9)),
      ) as tf.Scalar;
    const gradients = tf.grads(loss)([query, key, value]);
    [query, key, value].forEach((x, which) => {
      const nudge = made(x.shape, 40 + which);
      const along = (h: number) =>
        loss(...[query, key, value].map((y, i) => (i === which ? tf.add(y, tf.mul(nudge, h)) : y))).dataSync()[0];
      const slope = (along(0.01) - along(-0.01)) / 0.02;
      expect(tf.sum(tf.mul(gradients[which], nudge)).dataSync()[0]).toBeCloseTo(slope, 1);
    });
    tf.env().set('IS_TEST', true);
  });
});
