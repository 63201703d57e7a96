// Deep mutual learning (Zhang et al. 2018): two students trained side by side, each learning from the other.
import { causalStates, trainableModel, trainerParts, trainRun } from '@pith/model';
import type { LanguageModel, TrainableModel, TrainRunResult } from '@pith/model';
import type { HostTensor, WeightTensor } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import { checkTokens, runOptions, type DistillContext } from './distill.ts';
import type { DistillConfig } from './distill-config.ts';
import { buildLoss, type StudentView } from './losses/build-loss.ts';
import { requireSameVocabulary } from './student/compare-vocabularies.ts';

/** What {@link mutualDistill} needs. */
export interface MutualInput extends DistillContext {
  /** Two models of one vocabulary. */
  readonly students: readonly [LanguageModel, LanguageModel];
  /** How; made by `distillConfig` with `mutual`. */
  readonly config: DistillConfig;
}

/** What {@link mutualDistill} gives. */
export interface MutualResult {
  /** All weights of each student by checkpoint name. */
  readonly weights: readonly [ReadonlyMap<string, WeightTensor>, ReadonlyMap<string, WeightTensor>];
  /** The course of the run; the loss is the sum of both, its parts are named `first:kl`, `second:hard`. */
  readonly run: TrainRunResult;
}

const PREFIXES = ['first:', 'second:'] as const;

const prefixed = <T>(tensors: Readonly<Record<string, T>>, prefix: string): Record<string, T> =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [prefix + name, tensor]));

const unprefixed = <T>(tensors: Readonly<Record<string, T>>, prefix: string): Record<string, T> =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : [],
    ),
  );

/**
 * Trains two students in one program: each has the whole loss, with the other as its teacher, through which no gradient
 * flows.
 *
 * @throws PithError what `distill` throws.
 */
export async function mutualDistill(input: MutualInput): Promise<MutualResult> {
  const { students, config, windows, seed, device } = input;
  checkTokens(windows, students[0]);
  requireSameVocabulary(students[0], students[1], windows);
  const options = { trainable: config.trainable, keepZeros: config.keepZeros };
  const taken: TrainableModel[] = [];
  for (const [i, student] of students.entries()) {
    taken.push(await trainableModel(student, { ...options, seed: seed + i }));
  }
  const losses = students.map(({ architecture }) =>
    buildLoss(config.loss, { student: architecture, teacher: architecture, steps: config.steps, seed }),
  );
  const merged = (pick: (model: TrainableModel) => Readonly<Record<string, HostTensor<'f32'>>>) =>
    Object.assign({}, ...taken.map((model, i) => prefixed(pick(model), PREFIXES[i]!))) as Record<
      string,
      HostTensor<'f32'>
    >;
  const run = await trainRun(
    {
      ...trainerParts(config, windows, seed),
      parameters: merged(({ parameters }) => parameters),
      frozen: merged(({ frozen }) => frozen),
      masks: merged(({ masks }) => masks),
      numbers: (step) => losses[0]!.numbers(step),
      loss: (tensors, batch) => {
        const views = taken.map((model, i): StudentView => {
          const own = unprefixed(tensors as Readonly<Record<string, tf.Tensor>>, PREFIXES[i]!);
          const ids = batch['ids'] as tf.Tensor2D;
          const states = causalStates(model.architecture, own, ids, model.hook(own));
          return { states, targets: batch['targets'] as tf.Tensor2D };
        });
        const parts = losses.map((loss, i) => {
          const { logits } = views[1 - i]!.states;
          return loss.compute(views[i]!, { logits: () => logits }, {}, batch);
        });
        return {
          loss: tf.add(parts[0]!.loss, parts[1]!.loss),
          terms: { ...prefixed(parts[0]!.terms, PREFIXES[0]), ...prefixed(parts[1]!.terms, PREFIXES[1]) },
        };
      },
      device,
    },
    runOptions(input),
  );
  const results = await Promise.all(taken.map((model, i) => model.merge(unprefixed(run.parameters, PREFIXES[i]!))));
  return { weights: [results[0]!, results[1]!], run };
}
