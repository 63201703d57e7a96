import { describe, expect, it } from 'vitest';
import { weightAt } from './loss-term.ts';
import { parseLoss } from './parse-loss.ts';

const one = { from: 1, to: 1, curve: 'constant' };

describe('parseLoss', () => {
  it('reads the loss of the command line', () => {
    expect(parseLoss('kl:T=2,hard:0.1')).toEqual([
      { kind: 'soft', divergence: 'forward', temperature: 2, weight: one },
      { kind: 'hard', weight: { from: 0.1, to: 0.1, curve: 'constant' } },
    ]);
  });

  it('reads weights that change, layer maps and relations', () => {
    expect(parseLoss('js:1..0:T=3, hidden:0.5..2@cosine/100:layers=0-1/1-3:measure=cosine:project=true')).toEqual([
      { kind: 'soft', divergence: 'jensen-shannon', temperature: 3, weight: { from: 1, to: 0, curve: 'linear' } },
      {
        kind: 'hidden',
        measure: 'cosine',
        layers: [[0, 1], [1, 3]], // prettier-ignore
        project: true,
        weight: { from: 0.5, to: 2, curve: 'cosine', steps: 100 },
      },
    ]);
    expect(parseLoss('relations:pairs=vv:heads=8,attention:layers=last:measure=mse,reverse-kl')).toMatchObject([
      { kind: 'relations', pairs: ['vv'], heads: 8, layers: 'last' },
      { kind: 'attention', measure: 'mse', layers: 'last' },
      { kind: 'soft', divergence: 'reverse', temperature: 1 },
    ]);
    expect(Object.isFrozen(parseLoss('kl')[0])).toBe(true);
  });

  it.each([
    ['kl:T=0', /temperature: must be more than 0, got 0/],
    ['kl:T=-2,hard:-1', /temperature.*weight\.from: must be at least 0, got -1/],
    ['kll', /must be one of kl, .* got "kll", did you mean kl\?/],
    ['hidden:layer=last', /no setting "layer".*did you mean layers\?/],
    ['hidden:layers=first', /layers/],
    ['hidden:layers=0-1-2', /layers/],
    ['kl:half', /a weight must be like/],
    ['kl:1@cosine', /a weight must be like/],
    ['hard:0', /above 0 at some step/],
    ['relations:pairs=vq', /pairs/],
    ['', /must be one of/],
  ])('refuses %s', (text, message) => {
    expect(() => parseLoss(text)).toThrow(expect.objectContaining({ code: 'DISTILL_LOSS_INVALID' }));
    expect(() => parseLoss(text)).toThrow(message);
  });
});

describe('weightAt', () => {
  it('goes from one weight to the other', () => {
    const at = (curve: 'constant' | 'linear' | 'cosine', steps?: number) =>
      [0, 5, 10, 20].map((step) => weightAt({ from: 1, to: 0, curve, ...(steps && { steps }) }, step, 11));
    expect(at('constant')).toEqual([1, 1, 1, 1]);
    expect(at('linear')).toEqual([1, 0.5, 0, 0]);
    expect(at('linear', 6)).toEqual([1, 0, 0, 0]);
    expect(at('cosine').map((weight) => Number(weight.toFixed(12)))).toEqual([1, 0.5, 0, 0]);
  });
});
