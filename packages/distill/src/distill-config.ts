// Options of a distillation: validated once, defaults in one place.
import { parseTrainable, trainableSchema, trainingFields, type Trainable } from '@pith/model';
import { validate } from '@pith/tensor-core';
import { z } from 'zod';
import { needsStates } from './losses/build-loss.ts';
import type { LossTerm } from './losses/loss-term.ts';
import { lossSchema, parseLoss } from './losses/parse-loss.ts';
import { readStudent, studentSchema } from './student/student-spec.ts';

const fields = {
  ...trainingFields,
  /** Terms of the loss, see `parseLoss`. */
  loss: lossSchema,
  /** Where the student comes from. */
  student: studentSchema,
  /** What is trained, see `parseTrainable`. */
  trainable: trainableSchema,
  /** Zeros of pruned matrices stay; true. */
  keepZeros: z.boolean().default(true),
  /** How several teachers become one, see `TeacherMixture`; `weights`. */
  combine: z.enum(['weights', 'confidence']).default('weights'),
  /** Weight of each teacher; equal when left out. */
  teacherWeights: z.array(z.number().positive().max(1e6)).min(1).max(16).exactOptional(),
  /** Most likely tokens of the teacher that are kept on the disk and trained from; the teacher runs live when left out. */
  cacheTop: z.int().min(1).max(65535).exactOptional(),
  /** Generations of self-distillation; 1. */
  generations: z.int().min(1).max(100).default(1),
  /** The teacher is a second student; false. */
  mutual: z.boolean().default(false),
};

const schema = z.strictObject(fields).superRefine((config, context) => {
  const problem = (path: string, message: string) => void context.addIssue({ code: 'custom', path: [path], message });
  const loss = config.loss as readonly LossTerm[];
  const soft = loss.filter((term) => term.kind === 'soft');
  if (config.cacheTop !== undefined) {
    if (soft.length === 0) problem('cacheTop', 'keeps logits of the teacher, and the loss has no term that reads them');
    if (soft.some(({ divergence }) => divergence !== 'forward')) {
      problem('cacheTop', 'keeps the most likely tokens only, which suits kl; reverse-kl and js need all of them');
    }
    if (new Set(soft.map(({ temperature }) => temperature)).size > 1) {
      problem('cacheTop', 'keeps probabilities at one temperature, the loss has several');
    }
    if (needsStates(loss))
      problem('cacheTop', 'keeps no states: hidden, attention and relations need the live teacher');
    if (config.generations > 1)
      problem('cacheTop', 'belongs to one teacher, and each generation has a teacher of its own');
  }
  if (config.mutual) {
    if (soft.length === 0) problem('mutual', 'students learn from each other by a soft term such as kl');
    if (needsStates(loss))
      problem('mutual', 'compares distributions: hidden, attention and relations need a teacher that stays');
    if (config.cacheTop !== undefined)
      problem('mutual', 'and cacheTop contradict one another: there is no teacher to cache');
    if (config.generations > 1) problem('mutual', 'and generations contradict one another');
    if (config.teacherWeights !== undefined) problem('mutual', 'and teacherWeights contradict one another');
  }
  if (config.student.kind === 'random' && config.trainable.kind !== 'all') {
    problem('trainable', `must be all for a student of random weights, got ${config.trainable.kind}`);
  }
});

/** A distillation, validated, frozen, with every default filled in. */
export type DistillConfig = z.output<typeof schema>;

/** What a caller asks for. */
export interface DistillOptions {
  /** Steps of the optimizer (of each generation). */
  readonly steps: number;
  /** Terms, or their text (see `parseLoss`); `kl,hard` when left out, which did best where it was measured. */
  readonly loss?: string | readonly LossTerm[];
  /** `model`, `layers=0,2,4`, or a student (see `StudentSpec`); the model as it is when left out. */
  readonly student?: string | z.input<typeof studentSchema>;
  /** What is trained (see `parseTrainable`); `all` when left out. */
  readonly trainable?: string | Trainable;
  /** Keeps zeros of pruned matrices; true when left out. */
  readonly keepZeros?: boolean;
  /** How several teachers become one, see `TeacherMixture`; `weights` when left out. */
  readonly combine?: 'weights' | 'confidence';
  /** Weight of each teacher; equal when left out. */
  readonly teacherWeights?: readonly number[];
  /** Keeps so many of the teacher's most likely tokens on the disk first and trains from them; the teacher runs live when left out. */
  readonly cacheTop?: number;
  /** Generations of self-distillation: the student of one teaches the next, which starts as the first did; 1 when left out. */
  readonly generations?: number;
  /** The teacher is a second student, trained beside the first, each learning from the other; false when left out. */
  readonly mutual?: boolean;
  /** See `trainingFields`. */
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
  /** See `trainingFields`. */
  readonly weightDecay?: number;
  /** See `trainingFields`. */
  readonly saveEvery?: number;
}

/**
 * Validates options, fills in the defaults and freezes the result.
 *
 * @throws PithError `DISTILL_OPTION_INVALID` with every offender, `DISTILL_LOSS_INVALID`, `TRAINABLE_INVALID`.
 */
export function distillConfig(given: DistillOptions): DistillConfig {
  const { loss = 'kl,hard', student = 'model', trainable = 'all', ...rest } = given;
  const read = {
    ...rest,
    loss: typeof loss === 'string' ? parseLoss(loss) : loss,
    student: readStudent(student),
    trainable: typeof trainable === 'string' ? parseTrainable(trainable) : trainable,
  };
  return validate(schema, read, { operation: 'distill', code: 'DISTILL_OPTION_INVALID' });
}
