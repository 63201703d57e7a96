import { describe, expect, it } from 'vitest';
import { moduleMatcher } from './match-module.ts';

const PATHS = [
  'lm_head',
  'model.embed_tokens',
  'model.layers.0.self_attn.q_proj',
  'model.layers.0.self_attn.k_proj',
  'model.layers.0.mlp.down_proj',
  'model.layers.10.mlp.down_proj',
  'model.layers.1.mlp.gate_up.proj',
];

const matched = (pattern: string) => PATHS.filter(moduleMatcher(pattern));

describe('moduleMatcher', () => {
  it('matches whole parts anywhere, and everything below', () => {
    expect(matched('lm_head')).toEqual(['lm_head']);
    expect(matched('head')).toEqual([]);
    expect(matched('down_proj')).toEqual(PATHS.slice(4, 6));
    expect(matched('layers.1')).toEqual([PATHS[6]]);
    expect(matched('model.layers.0')).toEqual(PATHS.slice(2, 5));
    expect(matched('mlp.down_proj')).toEqual(PATHS.slice(4, 6));
    expect(matched('self_attn.down_proj')).toEqual([]);
  });

  it('knows wildcards within a part and over parts', () => {
    expect(matched('layers.1*')).toEqual(PATHS.slice(5));
    expect(matched('*_proj')).toEqual(PATHS.slice(2, 6));
    expect(matched('self_attn.[qk]_proj'.replace('[qk]', '*'))).toEqual(PATHS.slice(2, 4));
    expect(matched('layers.**.down_proj')).toEqual(PATHS.slice(4, 6));
    expect(matched('g*_*p')).toEqual([PATHS[6]]);
    expect(matched('g*up*p')).toEqual([]);
    expect(matched('*')).toEqual(PATHS);
  });

  it('matches regular expressions from the start', () => {
    expect(matched('re:.*k_proj$')).toEqual([PATHS[3]]);
    expect(matched('re:k_proj')).toEqual([]);
    expect(matched('re:model\\.layers\\.[01]\\.')).toEqual([...PATHS.slice(2, 5), PATHS[6]]);
  });

  it('refuses patterns that are none', () => {
    for (const pattern of ['', 'a..b', '.a', 'a b', 'a/b', 're:(', 'x'.repeat(2000)]) {
      expect(() => moduleMatcher(pattern), pattern).toThrow(expect.objectContaining({ code: 'PATTERN_INVALID' }));
    }
  });
});
