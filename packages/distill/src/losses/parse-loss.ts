// Losses as they are typed on a command line: `kl:T=2,hard:0.1`.
//
// Terms are separated by commas, the parts of a term by colons: a name, then a weight (`0.5`, `1..0` for one that falls
// over the run, `1..0@cosine`, `1..0@linear/200` over the first 200 steps), then settings (`T=2`).
import { PithError, nearestWord, validate } from '@pith/tensor-core';
import { z } from 'zod';
import type { LossTerm } from './loss-term.ts';

const CODE = 'DISTILL_LOSS_INVALID';

const weight = z
  .strictObject({
    /** Weight at the first step. */
    from: z.number().min(0).max(1e6),
    /** Weight at the last step. */
    to: z.number().min(0).max(1e6),
    /** How it goes from one to the other. */
    curve: z.enum(['constant', 'linear', 'cosine']),
    /** Steps that this takes, the weight staying afterwards; the whole run when left out. */
    steps: z.int().min(1).exactOptional(),
  })
  .refine(({ from, to, curve }) => (curve === 'constant' ? from > 0 : from > 0 || to > 0), {
    error: 'must be above 0 at some step',
  });

const block = z.int().min(0).max(65535);
const layers = z.union([z.enum(['uniform', 'last']), z.array(z.tuple([block, block])).min(1)]);

/** The schema of a loss; for configurations that contain one. */
export const lossSchema = z
  .array(
    z.discriminatedUnion('kind', [
      z.strictObject({
        /** The distribution of the teacher. */
        kind: z.literal('soft'),
        /** KL from the teacher, KL to the teacher, or Jensen-Shannon. */
        divergence: z.enum(['forward', 'reverse', 'jensen-shannon']),
        /** Divides the logits of both; the term is multiplied by its square. */
        temperature: z.number().positive().max(1000),
        /** Weight over the steps. */
        weight,
      }),
      z.strictObject({
        /** The tokens of the text. */
        kind: z.literal('hard'),
        /** Weight over the steps. */
        weight,
      }),
      z.strictObject({
        /** Hidden states. */
        kind: z.literal('hidden'),
        /** Mean squared error, or one minus the cosine. */
        measure: z.enum(['mse', 'cosine']),
        /** Which block of the student is compared with which of the teacher. */
        layers,
        /** States of the student go through a learnt matrix first: for other widths. */
        project: z.boolean(),
        /** Weight over the steps. */
        weight,
      }),
      z.strictObject({
        /** Attention probabilities. */
        kind: z.literal('attention'),
        /** KL from the teacher's rows, or mean squared error. */
        measure: z.enum(['kl', 'mse']),
        /** Which block of the student is compared with which of the teacher. */
        layers,
        /** Weight over the steps. */
        weight,
      }),
      z.strictObject({
        /** Relations of queries, keys and values. */
        kind: z.literal('relations'),
        /** What is multiplied with what: `qk`, `vv`. */
        pairs: z.array(z.enum(['qk', 'qq', 'kk', 'vv'])).min(1),
        /** Heads that both are cut into; null for those of the one with fewer. */
        heads: z.int().min(1).max(65536).nullable(),
        /** Which block of the student is compared with which of the teacher. */
        layers,
        /** Weight over the steps. */
        weight,
      }),
    ]),
  )
  .min(1)
  .max(16);

const ONE = { from: 1, to: 1, curve: 'constant' } as const;

/** What each name stands for, and the settings that it takes by the fields that they fill. */
const NAMES: Readonly<
  Record<string, { term: Readonly<Record<string, unknown>>; settings: Readonly<Record<string, string>> }>
> = {
  kl: { term: { kind: 'soft', divergence: 'forward', temperature: 1 }, settings: { T: 'temperature' } },
  'reverse-kl': { term: { kind: 'soft', divergence: 'reverse', temperature: 1 }, settings: { T: 'temperature' } },
  js: { term: { kind: 'soft', divergence: 'jensen-shannon', temperature: 1 }, settings: { T: 'temperature' } },
  hard: { term: { kind: 'hard' }, settings: {} },
  hidden: {
    term: { kind: 'hidden', measure: 'mse', layers: 'uniform', project: false },
    settings: { measure: 'measure', layers: 'layers', project: 'project' },
  },
  attention: {
    term: { kind: 'attention', measure: 'kl', layers: 'uniform' },
    settings: { measure: 'measure', layers: 'layers' },
  },
  relations: {
    term: { kind: 'relations', pairs: ['qk', 'vv'], heads: null, layers: 'last' },
    settings: { pairs: 'pairs', heads: 'heads', layers: 'layers' },
  },
};

/**
 * Reads a loss, or checks one that is given as terms.
 *
 * | name | term | settings |
 * | --- | --- | --- |
 * | `kl`, `reverse-kl`, `js` | the teacher's distribution | `T=2` |
 * | `hard` | the tokens of the text | |
 * | `hidden` | hidden states | `measure=mse` or `cosine`, `layers=uniform`, `last` or `0-1/1-3`, `project=true` |
 * | `attention` | attention probabilities | `measure=kl` or `mse`, `layers` |
 * | `relations` | relations of queries, keys, values | `pairs=qk/vv`, `heads=8`, `layers` |
 *
 * @example parseLoss('kl:0.9:T=2,hard:0.1..0.5@cosine')
 * @throws PithError `DISTILL_LOSS_INVALID` with every offender.
 */
export function parseLoss(given: string | readonly LossTerm[]): readonly LossTerm[] {
  const terms = typeof given === 'string' ? given.split(',').map(readTerm) : given;
  return validate(lossSchema, terms, { operation: 'distillation loss', code: CODE });
}

function readTerm(text: string): unknown {
  const [name = '', ...parts] = text.trim().split(':');
  const known = NAMES[name];
  if (known === undefined) {
    const near = nearestWord(name, Object.keys(NAMES));
    throw invalid(
      `a term must be one of ${Object.keys(NAMES).join(', ')}, got ${JSON.stringify(name.slice(0, 40))}` +
        (near === undefined ? '' : `, did you mean ${near}?`),
      text,
    );
  }
  const term: Record<string, unknown> = { ...known.term, weight: ONE };
  for (const part of parts) {
    const [key = '', value] = part.split('=');
    if (value === undefined) {
      term['weight'] = readWeight(part, text);
      continue;
    }
    const field = known.settings[key];
    if (field === undefined) {
      const near = nearestWord(key, Object.keys(known.settings));
      const choices = Object.keys(known.settings).join(', ') || 'none';
      throw invalid(
        `${name} has no setting ${JSON.stringify(key)} (it has ${choices})${near ? `, did you mean ${near}?` : ''}`,
        text,
      );
    }
    term[field] = readValue(field, value);
  }
  return term;
}

const WEIGHT = /^([\d.eE+-]+?)(?:\.\.([\d.eE+-]+?))?(?:@(linear|cosine)(?:\/(\d+))?)?$/;

function readWeight(part: string, text: string): unknown {
  const [, from, to, curve, steps] = WEIGHT.exec(part) ?? [];
  const numbers = [Number(from), Number(to ?? from)];
  if (from === undefined || numbers.some(Number.isNaN) || (curve !== undefined && to === undefined)) {
    throw invalid(`a weight must be like 0.5, 1..0, 1..0@cosine or 1..0@linear/200, got ${JSON.stringify(part)}`, text);
  }
  return {
    from: numbers[0],
    to: numbers[1],
    curve: curve ?? (to === undefined ? 'constant' : 'linear'),
    ...(steps !== undefined && { steps: Number(steps) }),
  };
}

function readValue(field: string, value: string): unknown {
  switch (field) {
    case 'temperature':
    case 'heads':
      return Number(value);
    case 'project':
      return value === 'true' ? true : value === 'false' ? false : value;
    case 'pairs':
      return value.split('/');
    case 'layers':
      return /^[\d/-]+$/.test(value) ? value.split('/').map((pair) => pair.split('-').map(Number)) : value;
    default:
      return value;
  }
}

const invalid = (problem: string, text: string): PithError =>
  new PithError(CODE, `distillation loss: ${problem}; write for example kl:T=2,hard:0.1`, {
    details: { term: text.slice(0, 200) },
  });
