// Checks a scheme and gives it its canonical name.
import { z } from 'zod';
import { PithError } from '@pith/tensor-core';
import { formatScheme } from './format-scheme.ts';
import type { Scheme } from './scheme.ts';

const granularity = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('tensor') }),
  z.strictObject({ kind: z.literal('channel') }),
  z.strictObject({ kind: z.literal('group'), size: z.int().min(2).max(1_048_576) }),
]);

const weights = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('int'), bits: z.int().min(2).max(8), symmetric: z.boolean(), granularity }),
  z.strictObject({ kind: z.literal('float'), dtype: z.enum(['f8_e4m3', 'f8_e5m2']), granularity }),
]);

const definition = z
  .strictObject({
    weights,
    activations: z
      .strictObject({
        dtype: z.enum(['i8', 'f8_e4m3']),
        granularity: z.enum(['token', 'tensor']),
        dynamic: z.boolean(),
        symmetric: z.boolean().exactOptional(),
      })
      .exactOptional(),
    scaleDType: z.enum(['f16', 'bf16', 'f32']).exactOptional(),
  })
  .superRefine(({ weights: coded, activations }, context) => {
    const problem = (path: string[], message: string) => void context.addIssue({ code: 'custom', path, message });
    if (coded.kind === 'float' && coded.granularity.kind === 'group') {
      problem(['weights', 'granularity'], 'fp8 weights have one scale per tensor or channel, got groups');
    }
    if (activations === undefined) return;
    if (activations.dynamic !== (activations.granularity === 'token')) {
      problem(['activations', 'dynamic'], 'scales per token are dynamic, scales per tensor static');
    }
    if (activations.symmetric === false && (activations.dynamic || activations.dtype !== 'i8')) {
      problem(['activations', 'symmetric'], 'a zero point goes with static integer activations only');
    }
    const weightDType = coded.kind === 'float' ? coded.dtype : coded.bits === 8 ? 'i8' : undefined;
    if (activations.dtype !== weightDType) {
      problem(['activations'], 'runtimes multiply activations and weights of the same 8-bit dtype only');
    } else if (coded.granularity.kind === 'group') {
      problem(['weights', 'granularity'], 'with quantized activations weights have one scale per tensor or channel');
    }
  });

/** A scheme without its name and storage, which follow from the rest. */
export type SchemeDefinition = Omit<Scheme, 'name' | 'storage'>;

/**
 * Validates and freezes a scheme.
 *
 * Weight-only integers are stored packed; with quantized activations, and for fp8, one byte per code.
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
  const storage = scheme.weights.kind === 'int' && scheme.activations === undefined ? 'packed' : 'bytes';
  Object.freeze(scheme.weights.granularity);
  Object.freeze(scheme.weights);
  if (scheme.activations) Object.freeze(scheme.activations);
  return Object.freeze({ name: formatScheme(scheme), ...scheme, storage });
}
