// Options of quantization-aware training: validated once, defaults in one place.
import { trainingFields } from '@pith/model';
import { validate } from '@pith/tensor-core';
import { z } from 'zod';
import {
  mixedRoundingShape,
  rangeOption,
  schemeRules,
  withScaleDType,
  type MixedRoundingOptions,
} from '../pass/pass-options.ts';
import type { SchemeRule } from '../scheme/scheme-rules.ts';
import type { RangeRuleInput } from '../range/parse-range.ts';
import type { RangeRule } from '../range/range.ts';

const schema = z
  .strictObject({
    ...mixedRoundingShape,
    ...trainingFields,
    learningRate: trainingFields.learningRate.unwrap().default(3e-4),
    weightDecay: trainingFields.weightDecay.unwrap().default(0),
    range: rangeOption.default({ kind: 'mse', candidates: 20, smallest: 0.2 }),
    train: z.enum(['all', 'linears', 'steps']).default('all'),
    stepRate: z.number().positive().max(1e4).default(1),
    soft: z.number().min(0).max(1e6).default(1),
    hard: z.number().min(0).max(1e6).default(0),
    temperature: z.number().positive().max(1000).default(1),
  })
  .superRefine(({ scheme: all, schemeFor, soft, hard }, context) => {
    const problem = (path: string, message: string) => void context.addIssue({ code: 'custom', path: [path], message });
    for (const [pattern, scheme] of [['', all] as const, ...Object.entries(schemeFor)]) {
      const path = pattern === '' ? 'scheme' : `schemeFor.${pattern}`;
      if (scheme.weights.kind !== 'int') problem(path, 'QAT learns integer codes; fp8 needs no training');
      if (scheme.activations !== undefined) {
        problem(path, `QAT rounds weights only, got ${scheme.name}; use a scheme without quantized activations`);
      }
      if (scheme.weights.granularity.kind === 'tensor') {
        problem(path, `QAT learns a step size for each channel or group, got ${scheme.name}`);
      }
    }
    if (soft === 0 && hard === 0) problem('soft', 'and hard must not both be 0: there would be no loss');
  });

/** Quantization-aware training, validated, frozen, with every default filled in. */
export type QatConfig = Readonly<Omit<z.output<typeof schema>, 'schemeFor' | 'scaleDType'>> & {
  readonly method: 'qat';
  readonly schemeFor: readonly SchemeRule[];
};

/** Options of `qatTransform`. */
export interface QatOptions extends MixedRoundingOptions {
  /** Steps of the optimizer. */
  readonly steps: number;
  /** How step sizes are first chosen; `mse` when left out. */
  readonly range?: string | RangeRule | RangeRuleInput;
  /** `all` weights and step sizes; `linears`: the quantized ones and step sizes; `steps`: step sizes alone. `all` when left out. */
  readonly train?: 'all' | 'linears' | 'steps';
  /** Learning rate of the step sizes, relative to that of the weights; they move relative to their start. 1 when left out. */
  readonly stepRate?: number;
  /** Weight of the soft targets: the distributions of the dense model, or of a teacher; 1 when left out. */
  readonly soft?: number;
  /** Weight of the tokens of the text; 0 when left out. */
  readonly hard?: number;
  /** Temperature of the soft targets; 1 when left out. */
  readonly temperature?: number;
  /** The highest learning rate; 3e-4 when left out. */
  readonly learningRate?: number;
  /** See `trainingFields`. */
  readonly schedule?: 'cosine' | 'wsd' | 'constant';
  /** See `trainingFields`. */
  readonly warmupSteps?: number;
  /** See `trainingFields`. */
  readonly batchSize?: number;
  /** See `trainingFields`. */
  readonly microBatches?: number;
  /** See `trainingFields`. */
  readonly clipNorm?: number | null;
  /** AdamW's decay; 0 when left out. */
  readonly weightDecay?: number;
  /** See `trainingFields`. */
  readonly saveEvery?: number;
}

/** Validates options. @throws PithError `CONFIG_INVALID` with every offender. */
export function qatConfig(given: QatOptions): QatConfig {
  const { scheme, schemeFor, scaleDType, ...rest } = validate(schema, given, { operation: 'qat options' });
  return Object.freeze({
    method: 'qat',
    ...rest,
    scheme: withScaleDType(scheme, scaleDType),
    schemeFor: schemeRules(schemeFor, scaleDType),
  });
}
