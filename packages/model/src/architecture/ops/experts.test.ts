// Choices and weights of experts, worked by hand.
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import { PLAIN_ROUTING } from '../../config/normalize.ts';
import { routeTokens, type RoutingFacts } from './experts.ts';

// tfjs advertises its Node binding on the console otherwise.
tf.env().set('IS_TEST', true);

const logit = (probability: number) => Math.log(probability / (1 - probability));

function routed(products: number[], facts: Partial<RoutingFacts>, bias?: number[]) {
  const all = { count: products.length, perToken: 2, normalizeWeights: false, ...PLAIN_ROUTING, ...facts };
  const { routed: masks, shares } = routeTokens(tf.tensor2d([products]), all, bias && tf.tensor1d(bias));
  const flat = (parts: readonly tf.Tensor[]) => parts.map((part) => part.dataSync()[0]);
  return { masks: flat(masks), shares: flat(shares) };
}

describe('routeTokens', () => {
  const scores = [0.9, 0.1, 0.5, 0.6, 0.2, 0.8].map(logit);
  const sigmoid = { scoring: 'sigmoid' } as const;

  it('sigmoids, scaled, of the chosen alone', () => {
    const { masks, shares } = routed(scores, { ...sigmoid, weightScale: 2 });
    expect(masks).toEqual([1, 0, 0, 0, 0, 1]);
    [1.8, 0, 0, 0, 0, 1.6].forEach((share, i) => expect(shares[i]).toBeCloseTo(share, 5));
  });

  it('a bias decides who is chosen and not by how much', () => {
    const { masks, shares } = routed(scores, { ...sigmoid, normalizeWeights: true }, [0, 0, 0, 0.5, 0.75, 0]);
    // 0.6 + 0.5 and 0.2 + 0.75 are more than 0.9.
    expect(masks).toEqual([0, 0, 0, 1, 1, 0]);
    [0, 0, 0, 0.75, 0.25, 0].forEach((share, i) => expect(shares[i]).toBeCloseTo(share, 5));
  });

  it('groups by their two best: the best expert of all may be in none that is looked at', () => {
    // Groups sum to 1.0, 1.1 and 1.0: the middle one.
    const { masks } = routed(scores, { ...sigmoid, groups: 3, groupsPerToken: 1, groupScore: 'two-largest' });
    expect(masks).toEqual([0, 0, 1, 1, 0, 0]);
  });

  it('groups by their best, negative scores included', () => {
    const bias = [-2, -2, -2, -2, -2, -2];
    const { masks } = routed(scores, { ...sigmoid, groups: 3, groupsPerToken: 1, groupScore: 'largest' }, bias);
    expect(masks).toEqual([1, 1, 0, 0, 0, 0]);
  });

  it('softmax over all experts, also where groups restrict the choice', () => {
    const { masks, shares } = routed([3, 0, 2, 2.5, 1, 2.9], { groups: 2, groupsPerToken: 1, weightScale: 16 });
    expect(masks).toEqual([1, 0, 1, 0, 0, 0]);
    const total = [3, 0, 2, 2.5, 1, 2.9].reduce((sum, x) => sum + Math.exp(x), 0);
    expect(shares[0]).toBeCloseTo((16 * Math.exp(3)) / total, 4);
    expect(shares[2]).toBeCloseTo((16 * Math.exp(2)) / total, 4);
  });

  it('all sigmoids zero in f32: weights are zero, not NaN', () => {
    const { shares } = routed([-200, -200, -200], { ...sigmoid, normalizeWeights: true });
    expect(shares).toEqual([0, 0, 0]);
  });
});
