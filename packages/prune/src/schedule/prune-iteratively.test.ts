import { PithError } from '@pith/tensor-core';
import type { LanguageModel } from '@pith/model';
import { describe, expect, it } from 'vitest';
import { madeUpModel, smallConfig } from '../structure/made-up-model.fixture.ts';
import { pruneIteratively, type IterativePruningOptions, type KeptRounds } from './prune-iteratively.ts';

const original = madeUpModel(smallConfig('llama'));
/** A model that remembers what was done to it. */
interface Marked extends LanguageModel {
  readonly done: string;
}
const mark = (model: LanguageModel, what: string): Marked => ({
  ...model,
  done: `${(model as Marked).done ?? ''}${what}`,
});
const doneTo = (model: LanguageModel) => (model as Partial<Marked>).done ?? '';

const steps = {
  shares: [0.25, 0.5, 0.75, 1],
  prune: (model, share) => Promise.resolve({ model: mark(model, `p${share} `), facts: { share } }),
  fineTune: (model, _share, round) => Promise.resolve(mark(model, `t${round} `)),
} satisfies IterativePruningOptions;

/** 10 as it was; after that by round, once before and once after fine-tuning. */
const perplexities = (pairs: readonly (readonly [number, number])[]) => (model: LanguageModel) => {
  const parts = doneTo(model)
    .split(' ')
    .filter((part) => part !== '');
  if (parts.length === 0) return Promise.resolve(10);
  return Promise.resolve(pairs[Math.ceil(parts.length / 2) - 1]![parts.length % 2 === 1 ? 0 : 1]);
};

describe('pruneIteratively', () => {
  it('prunes, tunes and measures until the target', async () => {
    const evaluate = perplexities([[20, 11], [25, 12], [30, 13], [40, 14]]); // prettier-ignore
    const seen: number[] = [];
    const result = await pruneIteratively(original, { ...steps, evaluate, onRound: ({ round }) => seen.push(round) });
    expect(doneTo(result.model)).toBe('p0.25 t1 p0.5 t2 p0.75 t3 p1 t4 ');
    expect(result).toMatchObject({ share: 1, perplexityBefore: 10 });
    expect(result.rounds[1]).toEqual({
      round: 2,
      share: 0.5,
      perplexityPruned: 25,
      perplexity: 12,
      passed: true,
      facts: { share: 0.5 },
    });
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  it('ends at the degradation and keeps the last model that passed', async () => {
    const evaluate = perplexities([[20, 10.5], [25, 11], [30, 11.5], [40, 10]]); // prettier-ignore
    const result = await pruneIteratively(original, { ...steps, evaluate, degradation: 1.1 });
    expect(doneTo(result.model)).toBe('p0.25 t1 p0.5 t2 ');
    expect(result.share).toBe(0.5);
    expect(result.rounds.map(({ passed }) => passed)).toEqual([true, true, false]);
    expect(result.rounds[2]!.reason).toContain('above the limit of 11');
  });

  it('gives back the original where no round passes', async () => {
    const evaluate = perplexities([[20, 12]]);
    const result = await pruneIteratively(original, { ...steps, evaluate, degradation: 1 });
    expect(result.model).toBe(original);
    expect(result).toMatchObject({ share: 0, rounds: [{ passed: false }] });
  });

  it('ends where fine-tuning diverges, and lets other errors through', async () => {
    const failing = (code: string) =>
      pruneIteratively(original, {
        ...steps,
        fineTune: (model, share, round) =>
          round === 2 ? Promise.reject(new PithError(code, 'training')) : steps.fineTune(model, share, round),
      });
    const result = await failing('TRAINING_DIVERGED');
    expect(doneTo(result.model)).toBe('p0.25 t1 ');
    expect(result.rounds[1]).toMatchObject({ passed: false, perplexity: null, reason: 'fine-tuning diverged' });
    await expect(failing('STOPPED')).rejects.toMatchObject({ code: 'STOPPED' });
  });

  it('goes on from kept rounds without doing them again', async () => {
    let kept: KeptRounds | null = null;
    const store = {
      read: () => Promise.resolve(kept),
      save: (rounds: KeptRounds) => {
        kept = { ...rounds, rounds: [...rounds.rounds] };
        return Promise.resolve();
      },
    };
    const evaluate = perplexities([[20, 11], [25, 12], [30, 13], [40, 99]]); // prettier-ignore
    const stopped = pruneIteratively(original, {
      ...steps,
      evaluate,
      store,
      fineTune: (model, share, round) =>
        round === 3 ? Promise.reject(new PithError('STOPPED', 'x')) : steps.fineTune(model, share, round),
    });
    await expect(stopped).rejects.toThrow();
    const result = await pruneIteratively(original, { ...steps, evaluate, store, degradation: 2 });
    expect(doneTo(result.model)).toBe('p0.25 t1 p0.5 t2 p0.75 t3 ');
    expect(result.rounds).toHaveLength(4);
    // All done: nothing runs any more.
    const refuse = () => Promise.reject(new Error('not again'));
    const again = await pruneIteratively(original, {
      ...steps,
      prune: refuse,
      evaluate: refuse,
      store,
      degradation: 2,
    });
    expect(again.rounds).toEqual(result.rounds);
    expect(doneTo(again.model)).toBe(doneTo(result.model));
  });
});
