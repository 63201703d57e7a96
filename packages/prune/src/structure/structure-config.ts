// What can be asked of structured pruning, and what it defaults to.
import { validate } from '@pith/tensor-core';
import * as z from 'zod';

const AMOUNT = 'must be a count (1, 2, ...) or a share between 0 and 1';
const amount = z
  .number()
  .gt(0)
  .refine((value) => value < 1 || Number.isInteger(value), AMOUNT);

/** How units are ranked: see {@link StructureOptions.score}. */
export const STRUCTURE_SCORES = ['wanda', 'magnitude', 'taylor'] as const;

const schema = z
  .strictObject({
    layers: z.union([amount, z.array(z.number().int().min(0)).min(1)]).optional(),
    neurons: amount.optional(),
    kvGroups: amount.optional(),
    experts: amount.optional(),
    score: z.enum(STRUCTURE_SCORES).optional(),
    contiguous: z.boolean().optional(),
    multipleOf: z.number().int().min(1).optional(),
  })
  .superRefine((value, context) => {
    const refuse = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
    const { layers, neurons } = value;
    const ranked = [neurons, value.kvGroups, value.experts].some((one) => one !== undefined);
    if (layers === undefined && !ranked) {
      context.addIssue({ code: 'custom', message: 'needs at least one of layers, neurons, kvGroups, experts' });
    }
    if (value.score !== undefined && !ranked) {
      refuse('score', 'ranks neurons, key-value groups and experts; layers go by their influence: leave it out');
    }
    if (value.contiguous !== undefined && typeof layers !== 'number') {
      refuse('contiguous', 'is for a number of layers, whose choice is free; leave it out');
    }
    if (value.multipleOf !== undefined && neurons === undefined) refuse('multipleOf', 'is for neurons; leave it out');
    if (Array.isArray(layers) && new Set(layers).size < layers.length) {
      refuse('layers', `must name each layer once, got ${layers.join(', ')}`);
    }
  });

/** What goes, and how it is chosen. An amount is a count from 1 on, or a share between 0 and 1 (rounded down). */
export interface StructureOptions {
  /** Whole layers: how many, or which ones (counted from 0). A number leaves the choice to their influence (ShortGPT). */
  readonly layers?: number | readonly number[];
  /** Channels of the feed-forward part, in each layer alike; of each expert where there are experts. */
  readonly neurons?: number;
  /** Key-value heads with the query heads that read them, in each layer alike. */
  readonly kvGroups?: number;
  /** Whole experts with their rows of the router, in each layer that has experts alike. */
  readonly experts?: number;
  /**
   * How neurons and groups are ranked; `wanda` when left out. `wanda`: norm of what the unit adds to the input of the linear
   * behind it, times the norms of the columns there; of an expert norm of what it adds to the hidden states. `magnitude`: product of the norms of the unit's slices, without
   * calibration. `taylor`: sum of |weight| times the size of its gradient over the unit's columns there; a backward pass.
   */
  readonly score?: (typeof STRUCTURE_SCORES)[number];
  /** Takes the layers from one run of neighbours, the one of least influence in sum. */
  readonly contiguous?: boolean;
  /** Keeps a multiple of so many neurons, rounded up; 1 when left out. Kernels like multiples of 32 or 64. */
  readonly multipleOf?: number;
}

/** Options with their defaults; frozen. */
export interface StructureConfig {
  /** See {@link StructureOptions.layers}; null for none. */
  readonly layers: number | readonly number[] | null;
  /** See {@link StructureOptions.neurons}; null for none. */
  readonly neurons: number | null;
  /** Neurons of each expert, where rounds count them apart; null for none, as `neurons` when left out. */
  readonly expertNeurons?: number | null;
  /** See {@link StructureOptions.kvGroups}; null for none. */
  readonly kvGroups: number | null;
  /** See {@link StructureOptions.experts}; null for none. */
  readonly experts: number | null;
  /** See {@link StructureOptions.score}. */
  readonly score: (typeof STRUCTURE_SCORES)[number];
  /** See {@link StructureOptions.contiguous}. */
  readonly contiguous: boolean;
  /** See {@link StructureOptions.multipleOf}. */
  readonly multipleOf: number;
}

/**
 * Checks options and fills in defaults.
 *
 * @throws PithError `CONFIG_INVALID` with every offender.
 */
export function structureConfig(options: StructureOptions): StructureConfig {
  const { layers, neurons, kvGroups, experts, score, contiguous, multipleOf } = validate(schema, options, {
    operation: 'structured pruning',
  });
  return Object.freeze({
    layers: layers ?? null,
    neurons: neurons ?? null,
    kvGroups: kvGroups ?? null,
    experts: experts ?? null,
    score: score ?? 'wanda',
    contiguous: contiguous ?? false,
    multipleOf: multipleOf ?? 1,
  });
}
