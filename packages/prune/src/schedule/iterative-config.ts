// What can be asked of iterative and of gradual pruning.
import { parseTrainable, trainingFields, type Trainable } from '@pith/model';
import { validate } from '@pith/tensor-core';
import * as z from 'zod';
import type { StructureOptions } from '../structure/structure-config.ts';
import { structureConfig } from '../structure/structure-config.ts';
import { pruneConfig, type PruneOptions } from '../unstructured/prune-options.ts';
import type { FineTuning } from './fine-tune.ts';
import type { RoundSpacing } from './sparsity-schedule.ts';

/** How each round prunes: single weights by a method, or whole parts. */
export type RoundMethod =
  | Omit<PruneOptions, 'sparsity' | 'pattern' | 'rounding'>
  | ({
      /** Whole parts. */
      readonly method: 'structure';
    } & Omit<StructureOptions, 'layers'> & {
        /** Layers that go; none when left out. */
        readonly layers?: number;
      });

/** Fine-tuning between rounds: the options of a training run; all but `steps` have defaults. */
export interface FineTuneOptions extends Partial<FineTuning['training']> {
  /** Steps of the optimizer in each round. */
  readonly steps: number;
  /** What is trained: `all`, `norms`, `lora:rank=8`, patterns of modules; `all` when left out. */
  readonly trainable?: string | Trainable;
}

/** Options of `iterativeTransform`. */
export interface IterativeOptions {
  /** How each round prunes. With `structure` the amounts are those of the end, of the model as it is. */
  readonly by: RoundMethod;
  /** Share of weights that are zero in the end; for methods that prune single weights. */
  readonly sparsity?: number;
  /** Rounds on the way; 5 when left out. */
  readonly rounds?: number;
  /** How they divide it; `cubic` when left out. */
  readonly spacing?: RoundSpacing;
  /** Ends before a round whose perplexity is above so many times the original's: 1.1 allows a tenth more. No limit when left out. */
  readonly degradation?: number;
  /** Fine-tuning after each round; none when left out. */
  readonly fineTune?: FineTuneOptions;
}

/** Options with their defaults; frozen, JSON only. */
export interface IterativeConfig {
  /** See {@link IterativeOptions.by}. */
  readonly by: RoundMethod;
  /** See {@link IterativeOptions.sparsity}; null for structure. */
  readonly sparsity: number | null;
  /** See {@link IterativeOptions.rounds}. */
  readonly rounds: number;
  /** See {@link IterativeOptions.spacing}. */
  readonly spacing: RoundSpacing;
  /** See {@link IterativeOptions.degradation}; null for no limit. */
  readonly degradation: number | null;
  /** See {@link IterativeOptions.fineTune}; null for none. */
  readonly fineTune: FineTuning | null;
}

/** The field of what is trained, beside `trainingFields`. */
export const trainableField = z.union([z.string(), z.looseObject({ kind: z.string() })]).default('all');

const fineTuneSchema = z.strictObject({ ...trainingFields, trainable: trainableField });

const schema = z
  .strictObject({
    by: z.looseObject({ method: z.string() }),
    sparsity: z.number().gt(0).lt(1).optional(),
    rounds: z.number().int().min(1).max(1000).default(5),
    spacing: z.enum(['cubic', 'linear']).default('cubic'),
    degradation: z.number().min(1).optional(),
    fineTune: fineTuneSchema.optional(),
  })
  .superRefine(({ by, sparsity, fineTune }, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (by.method === 'structure') {
      if (sparsity !== undefined) refuse(['sparsity'], 'is for single weights; the amounts of structure are in by');
      if (Array.isArray(by['layers'])) refuse(['by', 'layers'], 'must be how many go; which ones each round chooses');
    } else if (sparsity === undefined) refuse(['sparsity'], 'must be given for methods that prune single weights');
    if (by.method !== 'structure' && isAddition(fineTune?.trainable)) {
      refuse(['fineTune', 'trainable'], 'must be weights of the model: an addition would fill the zeros');
    }
    for (const key of ['sparsity', 'pattern', 'rounding']) {
      if (by.method !== 'structure' && key in by) refuse(['by', key], 'is not for rounds: give sparsity beside by');
    }
  });

/**
 * Checks options and fills in defaults.
 *
 * @throws PithError `CONFIG_INVALID`, `TRAINABLE_INVALID`, `PATTERN_INVALID`.
 */
export function iterativeConfig(options: IterativeOptions): IterativeConfig {
  const checked = validate(schema, options, { operation: 'iterative pruning' });
  const by = checked.by as unknown as RoundMethod;
  // The method's own options are checked by the method, before anything is run.
  if (by.method === 'structure') structureConfig(structureOptions(by));
  else pruneConfig({ ...by, sparsity: checked.sparsity! });
  const { fineTune } = checked;
  return Object.freeze({
    by,
    sparsity: checked.sparsity ?? null,
    rounds: checked.rounds,
    spacing: checked.spacing,
    degradation: checked.degradation ?? null,
    fineTune: fineTune === undefined ? null : fineTuningOf(fineTune),
  });
}

/** True for LoRA: additions that are merged into weights. */
export function isAddition(trainable: unknown): boolean {
  if (typeof trainable === 'string') return /^\s*lora\b/.test(trainable);
  return (trainable as { readonly kind?: unknown } | undefined)?.kind === 'lora';
}

/** A training run and what it trains, from the fields of a configuration that was checked. */
export function fineTuningOf(fields: z.output<typeof fineTuneSchema>): FineTuning {
  const { trainable, ...training } = fields;
  return Object.freeze({
    training: Object.freeze(training),
    trainable: parseTrainable(trainable as string | Trainable),
  });
}

/** The options of `structureTransform` in a method. */
export function structureOptions(by: RoundMethod & { readonly method: 'structure' }): StructureOptions {
  const { method: _, ...options } = by;
  return options;
}
