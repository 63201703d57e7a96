import { describe, expect, it } from 'vitest';
import { plannedWeight } from '../technique/planned-model.ts';
import { madeUpModel } from '../testing/folder-model.fixture.ts';
import { linearSelector, selectLinears } from './select-linears.ts';

const json = {
  model_type: 'llama',
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  vocab_size: 16,
};
const { architecture, weights } = madeUpModel(json);
const model = {
  ...{ config: json, architecture },
  weights: new Map([...weights].map(([name, weight]) => [name, plannedWeight(weight)])),
};
const paths = (include: string[], ignore: string[]) =>
  selectLinears(model, { include, ignore }).linears.map(({ path }) => path.replace('model.layers.', ''));

describe('selectLinears', () => {
  it('takes every linear of the blocks, those that are included, and none that is ignored', () => {
    expect(paths([], [])).toHaveLength(14);
    expect(paths(['q_proj', 'layers.1.mlp'], ['up_proj'])).toEqual([
      '0.self_attn.q_proj',
      '1.self_attn.q_proj',
      '1.mlp.gate_proj',
      '1.mlp.down_proj',
    ]);
    const selects = linearSelector({ include: [], ignore: ['layers.0'] });
    expect(architecture.blocks.map(({ linears }) => linears.some(selects))).toEqual([false, true]);
  });

  it('names patterns that cannot be meant', () => {
    const { problems } = selectLinears(model, { include: ['lm_head', 'qq'], ignore: ['lm_head', 'rr'] });
    expect(problems.map(({ code, name }) => [code, name])).toEqual([
      ['HEAD_OUTSIDE_BLOCKS', 'lm_head'],
      ['PATTERN_MATCHES_NOTHING', 'qq'],
      ['PATTERN_MATCHES_NOTHING', 'rr'],
    ]);
  });
});
