// What is trained, as it is typed on a command line or in a recipe: `all`, `norms`, `factors`, `lora:rank=8,alpha=16`, or
// patterns of modules.
import { PithError, validate } from '@pith/tensor-core';
import { z } from 'zod';
import { moduleMatcher } from '../selection/match-module.ts';
import type { Trainable } from './trainable.ts';

const patterns = z.array(z.string().min(1)).min(1);

/** The schema of {@link Trainable} as an object; for configurations that contain one. */
export const trainableSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    /** Every weight. */
    kind: z.literal('all'),
  }),
  z.strictObject({
    /** Weights and biases of norms. */
    kind: z.literal('norms'),
  }),
  z.strictObject({
    /** Low-rank factors. */
    kind: z.literal('factors'),
  }),
  z.strictObject({
    /** Modules by name. */
    kind: z.literal('modules'),
    /** Patterns of their names. */
    include: patterns,
  }),
  z.strictObject({
    /** Low-rank additions, merged in the end. */
    kind: z.literal('lora'),
    /** Rank of an addition. */
    rank: z.int().min(1).max(65536),
    /** The addition is multiplied by alpha / rank. */
    alpha: z.number().positive(),
    /** Patterns of the linears that get one; all when left out. */
    include: patterns.exactOptional(),
  }),
]);

/** LoRA's rank where none is given. */
const DEFAULT_RANK = 8;

/**
 * Reads what is trained: a name (`all`, `norms`, `factors`, `lora`, `lora:rank=8,alpha=16`), a pattern or several separated
 * by commas (`mlp.down_proj,norm`), or an object, which is checked.
 *
 * `lora` alone has rank 8; alpha is twice the rank where it is not given.
 *
 * @throws PithError `TRAINABLE_INVALID`, `PATTERN_INVALID`.
 */
export function parseTrainable(given: string | Trainable): Trainable {
  const options = { operation: 'what is trained', code: 'TRAINABLE_INVALID' };
  const choice = validate(trainableSchema, typeof given === 'string' ? read(given.trim()) : given, options);
  if ('include' in choice && choice.include) choice.include.forEach(moduleMatcher);
  return choice;
}

function read(text: string): unknown {
  if (text === 'all' || text === 'norms' || text === 'factors') return { kind: text };
  const [name, ...rest] = text.split(':');
  if (name !== 'lora') {
    return { kind: 'modules', include: text.split(',').map((pattern) => pattern.trim()) };
  }
  const fields: Record<string, number> = {};
  for (const part of rest
    .join(':')
    .split(',')
    .filter((piece) => piece !== '')) {
    const [key = '', value = ''] = part.split('=');
    if (value === '' || Number.isNaN(Number(value))) {
      throw new PithError(
        'TRAINABLE_INVALID',
        `what is trained: ${key} must be a number, got ${JSON.stringify(value)}; write for example lora:rank=8,alpha=16`,
        { details: { value: text.slice(0, 200) } },
      );
    }
    fields[key] = Number(value);
  }
  const { rank = DEFAULT_RANK, alpha = 2 * rank, ...others } = fields;
  return { kind: 'lora', rank, alpha, ...others };
}
