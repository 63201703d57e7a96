// Checks a scheme and gives it its canonical name.
import { z } from 'zod';
import { PithError } from '@pith/tensor-core';
import { formatScheme } from './format-scheme.ts';
import type { Scheme } from './scheme.ts';

const granularity = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('tensor') }),
  z.strictObject({ kind: z.literal('channel') }),
  z.strictObject({ kind: z.literal('group'), size: z.int().min(2).max(1_048_576) }),
  z.strictObject({ kind: z.literal('block'), rows: z.int().min(1).max(1024), columns: z.int().min(1).max(1024) }),
]);

const weights = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('int'), bits: z.int().min(2).max(8), symmetric: z.boolean(), granularity }),
  z.strictObject({
    kind: z.literal('float'),
    dtype: z.enum(['f8_e4m3', 'f8_e5m2', 'f4_e2m1']),
    granularity,
    scaleDType: z.enum(['f8_e8m0', 'f8_e4m3']).exactOptional(),
  }),
]);

const definition = z
  .strictObject({
    weights,
    activations: z
      .strictObject({
        dtype: z.enum(['i8', 'f8_e4m3', 'f4_e2m1']),
        granularity: z.enum(['token', 'tensor', 'group']),
        dynamic: z.boolean(),
        symmetric: z.boolean().exactOptional(),
        size: z.int().min(2).max(1_048_576).exactOptional(),
        scaleDType: z.enum(['f8_e8m0', 'f8_e4m3']).exactOptional(),
      })
      .exactOptional(),
    scaleDType: z.enum(['f16', 'bf16', 'f32']).exactOptional(),
  })
  .superRefine(({ weights: coded, activations, scaleDType }, context) => {
    const problem = (path: string[], message: string) => void context.addIssue({ code: 'custom', path, message });
    for (const [path, message] of weightProblems(coded, scaleDType)) problem(path, message);
    if (activations === undefined) return;
    if (activations.dynamic !== (activations.granularity !== 'tensor')) {
      problem(['activations', 'dynamic'], 'scales per token and group are dynamic, scales per tensor static');
    }
    if ((activations.granularity === 'group') !== (activations.size !== undefined)) {
      problem(['activations', 'size'], 'goes with groups, and groups need it');
    }
    if (activations.symmetric === false && (activations.dynamic || activations.dtype !== 'i8')) {
      problem(['activations', 'symmetric'], 'a zero point goes with static integer activations only');
    }
    // Integers of 4 bits are widened to 8 on their way into the product (W4A8).
    const widened = coded.kind === 'int' && coded.bits === 4 && activations.granularity === 'token';
    const weightDType = coded.kind === 'float' ? coded.dtype : coded.bits === 8 || widened ? 'i8' : undefined;
    if (activations.dtype !== weightDType) {
      problem(
        ['activations'],
        'runtimes multiply activations and weights of the same dtype of 8 bits, or of fp4, and int8 per token by int4, only',
      );
      return;
    }
    if (activations.granularity === 'group') {
      const micro = coded.kind === 'float' ? coded.scaleDType : undefined;
      const size = sizeOf(coded.granularity);
      if (coded.kind !== 'float' || activations.scaleDType !== micro || activations.size !== size) {
        problem(['activations'], 'groups of activations have the size and the scales of those of the weights');
      }
    } else if (coded.granularity.kind === 'block' || (coded.granularity.kind === 'group' && !widened)) {
      problem(
        ['weights', 'granularity'],
        'with quantized activations weights have one scale per tensor or channel; int4 has groups, too',
      );
    }
  });

type Weights = z.output<typeof weights>;

/** Columns of a group or tile. */
function sizeOf(granularity: Weights['granularity']): number | undefined {
  return granularity.kind === 'group'
    ? granularity.size
    : granularity.kind === 'block'
      ? granularity.columns
      : undefined;
}

/** Codings that no runtime has. */
function weightProblems(coded: Weights, plain: string | undefined): [path: string[], message: string][] {
  const { granularity } = coded;
  if (coded.kind === 'int') {
    return granularity.kind === 'block' ? [[['weights', 'granularity'], 'integers have groups, not tiles']] : [];
  }
  const found: [string[], string][] = [];
  const size = granularity.kind === 'group' ? granularity.size : undefined;
  const { dtype, scaleDType } = coded;
  if (scaleDType !== undefined && plain !== undefined) {
    found.push([['scaleDType'], `scales of this coding are ${scaleDType}, got ${plain}; leave it out`]);
  }
  if (scaleDType === undefined) {
    if (dtype === 'f4_e2m1') found.push([['weights', 'scaleDType'], 'fp4 has scales of 8 bits: f8_e8m0 or f8_e4m3']);
    else if (size !== undefined) {
      found.push([['weights', 'granularity'], 'fp8 weights have one scale per tensor, channel or tile, got groups']);
    }
  } else if (scaleDType === 'f8_e4m3' ? dtype !== 'f4_e2m1' || size !== 16 : dtype === 'f8_e5m2' || size !== 32) {
    found.push([
      ['weights', 'granularity'],
      'scales in f8_e8m0 go with groups of 32 in e4m3 or e2m1, scales in f8_e4m3 with groups of 16 in e2m1',
    ]);
  }
  return found;
}

/** A scheme without its name and storage, which follow from the rest. */
export type SchemeDefinition = Omit<Scheme, 'name' | 'storage'>;

/**
 * Validates and freezes a scheme.
 *
 * Weight-only integers and fp4 are stored packed; integers with quantized activations, and fp8, one byte per code.
 *
 * @throws PithError `SCHEME_INVALID` with every offending field.
 */
export function defineScheme(given: SchemeDefinition): Scheme {
  const parsed = definition.safeParse(given);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'scheme'}: ${message}`);
    throw new PithError('SCHEME_INVALID', `define scheme: ${problems.join('; ')}; correct these fields`, {
      details: { problems },
    });
  }
  const scheme = parsed.data;
  const { weights: coded } = scheme;
  const packed = coded.kind === 'int' ? scheme.activations === undefined : coded.dtype === 'f4_e2m1';
  const storage = packed ? 'packed' : 'bytes';
  Object.freeze(scheme.weights.granularity);
  Object.freeze(scheme.weights);
  if (scheme.activations) Object.freeze(scheme.activations);
  return Object.freeze({ name: formatScheme(scheme), ...scheme, storage });
}
