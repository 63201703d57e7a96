// What can be asked of gradual pruning.
import { moduleMatcher, trainingFields, type Trainable } from '@pith/model';
import { validate } from '@pith/tensor-core';
import * as z from 'zod';
import type { Comparison } from '../pattern/mask.ts';
import type { FineTuning } from './fine-tune.ts';
import { fineTuningOf, isAddition, trainableField } from './iterative-config.ts';

/** Options of `gradualTransform`: those of a training run, and how it prunes. */
export interface GradualOptions extends Partial<FineTuning['training']> {
  /** Steps of the optimizer. */
  readonly steps: number;
  /** Share of weights that are zero in the end. */
  readonly sparsity: number;
  /** Share that is cut before the first step; 0 when left out. */
  readonly initialSparsity?: number;
  /** Steps until the share is reached; 3/4 of all when left out: the rest lets the model recover. */
  readonly rampSteps?: number;
  /** Steps from one pruning to the next; a tenth of the ramp when left out. */
  readonly pruneEvery?: number;
  /** Whether each `row` loses its share or each `layer`; `layer` when left out. */
  readonly comparison?: Comparison;
  /** Patterns of linears that are pruned; all linears of the blocks when left out. */
  readonly include?: readonly string[];
  /** Patterns of linears that are left alone; stronger than `include`. */
  readonly ignore?: readonly string[];
  /** What is trained, see `parseTrainable`; `all` when left out. */
  readonly trainable?: string | Trainable;
}

/** Options with their defaults; frozen, JSON only. */
export interface GradualConfig {
  /** See {@link GradualOptions.sparsity}. */
  readonly sparsity: number;
  /** See {@link GradualOptions.initialSparsity}. */
  readonly initialSparsity: number;
  /** See {@link GradualOptions.rampSteps}. */
  readonly rampSteps: number;
  /** See {@link GradualOptions.pruneEvery}. */
  readonly pruneEvery: number;
  /** See {@link GradualOptions.comparison}. */
  readonly comparison: Comparison;
  /** See {@link GradualOptions.include}. */
  readonly include: readonly string[];
  /** See {@link GradualOptions.ignore}. */
  readonly ignore: readonly string[];
  /** The training run and what it trains. */
  readonly tuning: FineTuning;
}

const patterns = z.array(z.string()).default([]);

const schema = z
  .strictObject({
    ...trainingFields,
    trainable: trainableField,
    sparsity: z.number().gt(0).lt(1),
    initialSparsity: z.number().min(0).lt(1).default(0),
    rampSteps: z.number().int().min(1).optional(),
    pruneEvery: z.number().int().min(1).optional(),
    comparison: z.enum(['row', 'layer']).default('layer'),
    include: patterns,
    ignore: patterns,
  })
  .superRefine(({ steps, sparsity, initialSparsity, rampSteps, trainable }, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (initialSparsity > sparsity) {
      refuse(['initialSparsity'], `must be at most sparsity (${sparsity}), got ${initialSparsity}`);
    }
    if (isAddition(trainable))
      refuse(['trainable'], 'must be weights of the model: an addition beside them is not pruned');
    if (rampSteps !== undefined && rampSteps > steps) {
      refuse(['rampSteps'], `must be at most steps (${steps}), got ${rampSteps}`);
    }
  });

/**
 * Checks options and fills in defaults.
 *
 * @throws PithError `CONFIG_INVALID`, `TRAINABLE_INVALID`, `PATTERN_INVALID`.
 */
export function gradualConfig(options: GradualOptions): GradualConfig {
  const checked = validate(schema, options, { operation: 'gradual pruning' });
  const { sparsity, initialSparsity, comparison, include, ignore, rampSteps, pruneEvery, ...tuning } = checked;
  for (const pattern of [...include, ...ignore]) moduleMatcher(pattern);
  const ramp = rampSteps ?? Math.max(1, Math.floor((3 * tuning.steps) / 4));
  return Object.freeze({
    ...{ sparsity, initialSparsity, comparison, include, ignore },
    rampSteps: ramp,
    pruneEvery: pruneEvery ?? Math.max(1, Math.floor(ramp / 10)),
    tuning: fineTuningOf(tuning),
  });
}
