// What happens to the hidden states at the end: the final norm, a slice of the vocabulary, and the reduction to a few
// numbers per token. Logits never leave these graphs unless they are asked for.
import { compile } from '@pith/tensor-core';
import type { Device, HostTensor, Program, Signature, TensorSpec } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Architecture } from '../architecture/architecture.ts';
import { finishTensors } from '../architecture/expected-tensors.ts';
import { modelScope } from '../architecture/scope.ts';
import { weightInput } from './programs.ts';

/** Static lengths of a head program. */
export interface HeadShape {
  /** Tokens. */
  readonly rows: number;
  /** Rows of the output projection. */
  readonly vocabulary: number;
}

/** Prefixes the inputs of a head program, where two models share one. */
function inputs(
  architecture: Architecture,
  { rows, vocabulary }: HeadShape,
  prefix: string,
): Record<string, TensorSpec> {
  const { head, config } = architecture;
  const finish = finishTensors(architecture).map(({ name, shape }) => [
    prefix + weightInput(name),
    { shape: [...shape] },
  ]);
  return {
    [`${prefix}hidden`]: { shape: [rows, config.hiddenSize] },
    ...(Object.fromEntries(finish) as Record<string, TensorSpec>),
    [prefix + weightInput(head.name)]: { shape: [vocabulary, head.inFeatures] },
    ...(head.biasName !== null && { [prefix + weightInput(head.biasName)]: { shape: [vocabulary] } }),
  };
}

/** Weights of the head by the names that its programs use. */
export function headFeeds(
  { head }: Architecture,
  weights: HeadWeights,
  prefix = '',
): Record<string, HostTensor<'f32'>> {
  const finish = [...weights.finish].map(([name, tensor]) => [prefix + weightInput(name), tensor] as const);
  return {
    ...Object.fromEntries(finish),
    [prefix + weightInput(head.name)]: weights.head,
    ...(head.biasName !== null && weights.bias && { [prefix + weightInput(head.biasName)]: weights.bias }),
  };
}

/** Restored weights of the head, its rows and bias restricted to a slice of the vocabulary. */
export interface HeadWeights {
  /** What stands before the output projection, by checkpoint name. */
  readonly finish: ReadonlyMap<string, HostTensor<'f32'>>;
  readonly head: HostTensor<'f32'>;
  readonly bias?: HostTensor<'f32'>;
}

/** Logits f32 [rows, vocabulary] and what they were made of. */
function sliceLogits(architecture: Architecture, given: Readonly<Record<string, Tensor>>, prefix: string) {
  const weight = (name: string) => given[prefix + weightInput(name)];
  const scope = modelScope(architecture, weight);
  const { program, head } = architecture;
  const normed = program.finish(scope, given[`${prefix}hidden`]);
  return { normed, logits: program.logits(scope.linear(head.path, normed)), weight };
}

/** `log(sum(exp(logits)))` over the last axis, f32 [rows, 1]. */
function logSum(logits: Tensor): Tensor {
  return tf.logSumExp(logits, -1, true);
}

/**
 * The logit of each token's target, as a product of two vectors: the logits need not be gathered from.
 *
 * @param targets int32 [rows], in the slice.
 * @returns f32 [rows].
 */
function targetLogits(
  { head, program }: Architecture,
  { normed, weight }: ReturnType<typeof sliceLogits>,
  targets: Tensor,
): Tensor {
  const ids = targets as tf.Tensor1D;
  const products = tf.sum(tf.mul(normed, tf.gather(weight(head.name), ids)), -1);
  return program.logits(head.biasName === null ? products : tf.add(products, tf.gather(weight(head.biasName), ids)));
}

/**
 * Compiles the score of a slice of the vocabulary.
 *
 * Inputs: `hidden` f32 [rows, hidden], `targets` i32 [rows] counted from the start of the slice (clamped into it), weights.
 * Outputs: `logSum` f32 [rows], the logarithm of the summed exponentials over the slice; `target` f32 [rows].
 */
export function compileScore(architecture: Architecture, shape: HeadShape, device: Device): Promise<Program> {
  const signature: Signature = {
    ...inputs(architecture, shape, ''),
    targets: { shape: [shape.rows], dtype: 'int32' },
  };
  return compile(
    (given) => {
      const slice = sliceLogits(architecture, given, '');
      return {
        logSum: tf.reshape(logSum(slice.logits), [shape.rows]),
        target: targetLogits(architecture, slice, given.targets),
      };
    },
    signature,
    device,
    { name: `${architecture.config.modelType}-score` },
  );
}

/**
 * Compiles the part that a slice of the vocabulary has in the gradient of the loss with respect to the hidden states;
 * the gradient is the sum of the parts.
 *
 * Inputs: `hidden` f32 [rows, hidden]; `logSum` f32 [rows], the logarithm of the summed exponentials over the whole
 * vocabulary; `targets` i32 [rows] counted from the start of the slice (clamped into it); `share` f32 [rows], the factor of
 * each row's loss; `targetShare` f32 [rows], the same where the target lies in the slice and 0 elsewhere; weights.
 * Output: `gradient` f32 [rows, hidden].
 */
export function compileHeadGradient(architecture: Architecture, shape: HeadShape, device: Device): Promise<Program> {
  const { rows, vocabulary } = shape;
  const signature: Signature = {
    ...inputs(architecture, shape, ''),
    logSum: { shape: [rows] },
    targets: { shape: [rows], dtype: 'int32' },
    share: { shape: [rows] },
    targetShare: { shape: [rows] },
  };
  return compile(
    (given) => {
      const column = (name: string) => tf.reshape(given[name], [rows, 1]);
      const logitsOf = (hidden: Tensor) => sliceLogits(architecture, { ...given, hidden }, '').logits;
      const shares = tf.exp(tf.sub(logitsOf(given['hidden']), column('logSum')));
      const wanted = tf.oneHot(given['targets'] as tf.Tensor1D, vocabulary);
      const errors = tf.sub(tf.mul(shares, column('share')), tf.mul(wanted, column('targetShare')));
      return { gradient: tf.grad(logitsOf)(given['hidden'], errors) };
    },
    signature,
    device,
    { name: `${architecture.config.modelType}-head-gradient` },
  );
}

/** Prefixes of the inputs and outputs of the two models in {@link compileComparison}. */
export const REFERENCE = 'reference.';
/** See {@link REFERENCE}. */
export const MODEL = 'model.';

/**
 * Compiles the comparison of two models on a slice of the vocabulary.
 *
 * Inputs: those of {@link compileScore} per model, prefixed, with one `targets`. Outputs, f32 [rows] each: per model,
 * prefixed, `logSum`, `target`, `top` (largest logit) and `topIndex` (i32, counted from the start of the slice); and `kl`,
 * the divergence KL(reference || model) of the two distributions restricted to the slice.
 */
export function compileComparison(
  reference: Architecture,
  model: Architecture,
  shape: HeadShape,
  device: Device,
): Promise<Program> {
  const signature: Signature = {
    ...inputs(reference, shape, REFERENCE),
    ...inputs(model, shape, MODEL),
    targets: { shape: [shape.rows], dtype: 'int32' },
  };
  const side = (architecture: Architecture, given: Readonly<Record<string, Tensor>>, prefix: string) => {
    const slice = sliceLogits(architecture, given, prefix);
    const total = logSum(slice.logits);
    return {
      logShares: tf.sub(slice.logits, total),
      outputs: {
        [`${prefix}logSum`]: tf.reshape(total, [shape.rows]),
        [`${prefix}target`]: targetLogits(architecture, slice, given.targets),
        [`${prefix}top`]: tf.max(slice.logits, -1),
        [`${prefix}topIndex`]: tf.argMax(slice.logits, -1),
      },
    };
  };
  return compile(
    (given) => {
      const a = side(reference, given, REFERENCE);
      const b = side(model, given, MODEL);
      const kl = tf.sum(tf.mul(tf.exp(a.logShares), tf.sub(a.logShares, b.logShares)), -1);
      return { ...a.outputs, ...b.outputs, kl };
    },
    signature,
    device,
    { name: 'comparison' },
  );
}

/**
 * Compiles raw logits of a slice of the vocabulary.
 *
 * Input: `hidden` f32 [rows, hidden], weights. Output: `logits` f32 [rows, vocabulary].
 */
export function compileLogits(architecture: Architecture, shape: HeadShape, device: Device): Promise<Program> {
  return compile(
    (given) => ({ logits: sliceLogits(architecture, given, '').logits }),
    inputs(architecture, shape, ''),
    device,
    { name: `${architecture.config.modelType}-logits` },
  );
}
