// Hidden states as targets.
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';

/** Keeps lengths from being zero. */
const SMALL = 1e-8;

/**
 * How far the student's hidden states are from the teacher's.
 *
 * `mse`: the mean squared difference divided by the mean square of the teacher's, so that 1 is what zeros give whatever the
 * model. `cosine`: one minus the cosine of the two states of a token, averaged. No gradient flows into the teacher.
 *
 * @param student f32 [batch, tokens, hidden].
 * @param teacher f32 [batch, tokens, teacherHidden].
 * @param projection f32 [teacherHidden, hidden], applied to the student's; needed where the widths differ.
 */
export function hiddenLoss(
  student: Tensor3D,
  teacher: Tensor3D,
  measure: 'mse' | 'cosine',
  projection?: Tensor2D,
): Scalar {
  const rows = (x: Tensor): Tensor2D => tf.reshape(x, [-1, x.shape.at(-1)!]);
  const [source, target] = [rows(student), rows(teacher)];
  const own = projection ? tf.matMul(source, projection, false, true) : source;
  if (measure === 'mse') {
    const scale = tf.add(tf.mean(tf.square(target)), SMALL);
    return tf.div(tf.mean(tf.square(tf.sub(own, target))), scale) as Scalar;
  }
  const length = (x: Tensor): Tensor => tf.sqrt(tf.add(tf.sum(tf.square(x), 1), SMALL));
  const cosines = tf.div(tf.sum(tf.mul(own, target), 1), tf.mul(length(own), length(target)));
  return tf.sub(1, tf.mean(cosines)) as Scalar;
}
