import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { isPithError } from '../errors/pith-error.ts';
import { nearestWord } from './suggest.ts';
import { validate } from './validate.ts';

const schema = z.strictObject({
  bits: z.int().min(2).max(8),
  granularity: z.enum(['tensor', 'channel', 'group']).default('channel'),
  ignore: z.array(z.string()).default([]),
  damping: z.number().gt(0).optional(),
  range: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('absmax') }),
      z.strictObject({ kind: z.literal('percentile'), percentile: z.number() }),
    ])
    .optional(),
});

function problemsOf(value: unknown): string[] {
  try {
    validate(schema, value, { operation: 'quantize options' });
  } catch (error) {
    if (!isPithError(error)) throw error;
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message.startsWith('quantize options: ')).toBe(true);
    const problems = error.details['problems'] as { path: string; message: string }[];
    return problems.map(({ path, message }) => `${path}: ${message}`);
  }
  return [];
}

describe('validate', () => {
  it('fills in defaults and freezes', () => {
    const value = validate(schema, { bits: 4, range: { kind: 'absmax' } }, { operation: 'x' });
    expect(value).toEqual({ bits: 4, granularity: 'channel', ignore: [], range: { kind: 'absmax' } });
    expect([Object.isFrozen(value), Object.isFrozen(value.ignore), Object.isFrozen(value.range)]).toEqual([
      true,
      true,
      true,
    ]);
  });

  it('reports all offenders at once, with what was meant', () => {
    expect(problemsOf({ bist: 4, granularity: 'chanel', ignore: ['a', 3], damping: 0, extra: true })).toEqual([
      'bits: must be a number, it is missing',
      'granularity: must be one of tensor, channel, group, got "chanel", did you mean channel?',
      'ignore[1]: must be a string, got 3',
      'damping: must be more than 0, got 0',
      'bist: unknown, did you mean bits?',
      'extra: unknown, known are bits, granularity, ignore, damping, range',
    ]);
  });

  it('states the limits', () => {
    expect(problemsOf({ bits: 9 })).toEqual(['bits: must be at most 8, got 9']);
    expect(problemsOf({ bits: 1 })).toEqual(['bits: must be at least 2, got 1']);
    expect(problemsOf({ bits: 4.5 })).toEqual(['bits: must be an integer, got 4.5']);
    expect(problemsOf({ bits: NaN })).toEqual(['bits: must be a number, got NaN']);
    expect(problemsOf(null)).toEqual([': must be an object, got null']);
  });

  it('looks into nested objects and unions', () => {
    expect(problemsOf({ bits: 4, range: { kind: 'percentil', percentile: 1 } })).toEqual([
      'range.kind: must be one of absmax, percentile, got "percentil", did you mean percentile?',
    ]);
    expect(problemsOf({ bits: 4, range: { percentile: 1 } })).toEqual([
      'range.kind: must be one of absmax, percentile, it is missing',
    ]);
    expect(problemsOf({ bits: 4, range: { kind: 'percentile', percent: 99 } })).toEqual([
      'range.percentile: must be a number, it is missing',
      'range.percent: unknown, did you mean percentile?',
    ]);
  });

  it('takes another code', () => {
    expect(() => validate(z.string(), 1, { operation: 'x', code: 'RECIPE_INVALID' })).toThrow(
      expect.objectContaining({ code: 'RECIPE_INVALID', message: 'x: must be a string, got 1', kind: 'input' }),
    );
  });
});

describe('nearestWord', () => {
  it('forgives slips of the hand and nothing more', () => {
    const known = ['groupSize', 'bits', 'symmetric'];
    expect(nearestWord('groupsize', known)).toBe('groupSize');
    expect(nearestWord('gruopSize', known)).toBe('groupSize');
    expect(nearestWord('bist', known)).toBe('bits');
    expect(nearestWord('bit', known)).toBe('bits');
    expect(nearestWord('asymmetric', known)).toBe('symmetric');
    expect(nearestWord('damping', known)).toBeUndefined();
    expect(nearestWord('x'.repeat(100_000), known)).toBeUndefined();
  });
});
