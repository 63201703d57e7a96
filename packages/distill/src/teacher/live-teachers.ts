// Teachers whose forward pass is part of the student's step: one compiled program, the logits never leave it.
import { causalStates, trainableModel } from '@pith/model';
import type { CausalStates, LanguageModel, TrainableModel } from '@pith/model';
import type { HostTensor } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import type { TeacherView } from '../losses/build-loss.ts';

/** How the distributions of several teachers become one: their mean by weight, or also by confidence. */
export interface TeacherMixture {
  /**
   * `weights`: the mean of the probabilities by the weights. `confidence`: at each token a teacher counts by its weight times
   * `exp(-entropy)` of its distribution (in nats), so that the surer ones count more.
   */
  readonly combine: 'weights' | 'confidence';
  /** One for each teacher, above 0; equal when left out. */
  readonly weights?: readonly number[];
}

/** Teachers ready for a step program. */
export interface LiveTeachers {
  /** Their weights, f32, by names of their own. */
  readonly frozen: Readonly<Record<string, HostTensor<'f32'>>>;
  /** What they show for token ids int32 [batch, tokens], inside of the program. */
  view(tensors: Readonly<Record<string, Tensor>>, ids: Tensor2D): TeacherView;
}

const prefixOf = (index: number): string => `teacher${index}:`;

/** Restores the weights of teachers, all of them in memory as f32. */
export async function liveTeachers(
  models: readonly LanguageModel[],
  mixture: TeacherMixture = { combine: 'weights' },
): Promise<LiveTeachers> {
  const frozen: Record<string, HostTensor<'f32'>> = {};
  const taken: { readonly model: TrainableModel; readonly names: readonly string[] }[] = [];
  for (const [i, model] of models.entries()) {
    // No choice of norms is ever refused: nothing is trained here, all of it is input.
    const parts = await trainableModel(model, { trainable: { kind: 'norms' }, seed: 0 });
    const all = { ...parts.parameters, ...parts.frozen };
    for (const [name, tensor] of Object.entries(all)) frozen[prefixOf(i) + name] = tensor;
    taken.push({ model: parts, names: Object.keys(all) });
  }
  return {
    frozen,
    view: (tensors, ids) => {
      const states = taken.map(({ model, names }, i): CausalStates => {
        const weights = Object.fromEntries(names.map((name) => [name, tensors[prefixOf(i) + name]!]));
        return causalStates(model.architecture, weights, ids);
      });
      const logits = states.map((state) => state.logits);
      return {
        states: states[0]!,
        logits: (temperature) => (logits.length === 1 ? logits[0]! : mixedLogits(logits, temperature, mixture)),
      };
    },
  };
}

/** Keeps the logarithm of a probability finite. */
const LEAST = 1e-30;

/**
 * Logits whose softmax at a temperature is the mixture of the teachers' distributions at it.
 *
 * @param logits f32 [batch, tokens, vocabulary] each.
 */
export function mixedLogits(logits: readonly Tensor3D[], temperature: number, mixture: TeacherMixture): Tensor3D {
  const { combine, weights = logits.map(() => 1) } = mixture;
  const logs = logits.map((x) => tf.logSoftmax(tf.div(x, temperature)));
  const probabilities = logs.map((x) => tf.exp(x));
  const shares = logs.map((x, i): Tensor => {
    if (combine === 'weights') return tf.scalar(weights[i]!);
    const entropy = tf.neg(tf.sum(tf.mul(probabilities[i]!, x), -1, true));
    return tf.mul(tf.exp(tf.neg(entropy)), weights[i]!);
  });
  const total = tf.addN(shares);
  const mixed = tf.addN(probabilities.map((p, i) => tf.mul(p, tf.div(shares[i]!, total))));
  return tf.mul(tf.log(tf.maximum(mixed, LEAST)), temperature);
}
