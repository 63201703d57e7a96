// Lets a pruned model recover: next-token training in which zeros of pruned matrices stay zero.
import {
  causalStates,
  crossEntropy,
  trainableModel,
  trainerParts,
  trainRun,
  type LanguageModel,
  type Loss,
  type Trainable,
  type TrainableModel,
  type TrainFolder,
  type TrainingConfig,
  type TransformContext,
} from '@pith/model';
import type { Tensor2D } from '@tensorflow/tfjs-core';
import type { PrunedModel } from './prune-iteratively.ts';

/** A training run and what it trains. */
export interface FineTuning {
  /** How it goes. */
  readonly training: TrainingConfig;
  /** What is trained. */
  readonly trainable: Trainable;
}

/** The cross-entropy of the next token of a model that was taken apart. */
export function fineTuneLoss(parts: TrainableModel): Loss {
  return (tensors, batch) =>
    crossEntropy(
      causalStates(parts.architecture, tensors, batch['ids'] as Tensor2D, parts.hook(tensors)).logits,
      batch['targets'] as Tensor2D,
    );
}

/**
 * Trains a model on the windows of the context. Masks hold: what is zero in a pruned matrix stays zero to the bit.
 *
 * @param folder Where the run resumes from.
 * @throws PithError `TRAINABLE_INVALID`, `TRAIN_DATA_TOO_SHORT`, `TRAINING_DIVERGED`, `STOPPED`.
 */
export async function fineTune(
  model: LanguageModel,
  { training, trainable }: FineTuning,
  { device, windows, seed, signal, progress }: TransformContext,
  folder?: TrainFolder,
): Promise<PrunedModel> {
  const parts = await trainableModel(model, { trainable, seed });
  const { parameters, frozen, masks } = parts;
  const loss = fineTuneLoss(parts);
  const result = await trainRun(
    { parameters, frozen, masks, loss, device, ...trainerParts(training, windows, seed) },
    {
      steps: training.steps,
      ...(training.saveEvery !== undefined && { saveEvery: training.saveEvery }),
      ...(folder && { folder }),
      ...(signal && { signal }),
      ...(progress && { progress }),
    },
  );
  const curve = result.curve.map((record) => ({ ...record }));
  return { model: { ...model, weights: await parts.merge(result.parameters) }, facts: { curve } };
}
