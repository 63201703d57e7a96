import { expect, it } from 'vitest';
import { iterativeOptions } from './iterative-options.ts';

it('sorts flags into rounds, one round, and the training between rounds', () => {
  expect(
    iterativeOptions({
      method: 'iterative',
      by: 'wanda',
      sparsity: 0.7,
      rounds: 3,
      degradation: 1.5,
      comparison: 'row',
      ignore: ['layers.0'],
      steps: 60,
      learningRate: 1e-3,
      trainable: 'norms',
    }),
  ).toEqual({
    method: 'iterative',
    sparsity: 0.7,
    rounds: 3,
    degradation: 1.5,
    by: { method: 'wanda', comparison: 'row', ignore: ['layers.0'] },
    fineTune: { steps: 60, learningRate: 1e-3, trainable: 'norms' },
  });
});

it('takes whole parts where a structure is given, and no training where none is asked for', () => {
  expect(iterativeOptions({ method: 'iterative', layers: 2, neurons: 0.25, score: 'wanda' })).toEqual({
    method: 'iterative',
    by: { method: 'structure', layers: 2, neurons: 0.25, score: 'wanda' },
  });
  expect(iterativeOptions({ method: 'iterative', sparsity: 0.5 })).toEqual({
    method: 'iterative',
    sparsity: 0.5,
    by: { method: 'magnitude' },
  });
});

it('refuses training without a length, and two ways to prune', () => {
  expect(() => iterativeOptions({ method: 'iterative', sparsity: 0.5, learningRate: 1 })).toThrow(/--steps/);
  expect(() => iterativeOptions({ method: 'iterative', by: 'wanda', neurons: 0.5 })).toThrow(/--structure/);
});
