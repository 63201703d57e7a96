// Losses against the whole distribution of a teacher. Gradients are written out: the automatic ones would keep and pass
// over several more arrays of the logits' size. The teacher is a constant: no gradient flows into it.
import * as tf from '@tensorflow/tfjs-core';
import type { GradSaveFunc, Scalar, Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';

/**
 * How two distributions are compared, teacher P and student Q: `forward` KL(P || Q), which covers all that the teacher
 * holds possible; `reverse` KL(Q || P), which keeps to what it holds likely; `jensen-shannon`
 * (KL(P || M) + KL(Q || M)) / 2 with M their mean.
 */
export type Divergence = 'forward' | 'reverse' | 'jensen-shannon';

/** Options of {@link softTargetLoss}. */
export interface SoftTargetOptions {
  /** `forward` when left out. */
  readonly divergence?: Divergence;
  /** Both logits are divided by it before the softmax, and the loss is multiplied by its square; 1 when left out. */
  readonly temperature?: number;
}

/**
 * The mean over all positions of the divergence between the teacher's and the student's next-token distributions at a
 * temperature, times its square, which keeps the size of the gradient independent of it (Hinton et al. 2015, section 2).
 * In nats, computed and summed in f32.
 *
 * @param student f32 [batch, tokens, vocabulary].
 * @param teacher f32 [batch, tokens, vocabulary].
 */
export function softTargetLoss(student: Tensor3D, teacher: Tensor3D, options: SoftTargetOptions = {}): Scalar {
  const { divergence = 'forward', temperature = 1 } = options;
  const [batch, tokens, vocabulary] = student.shape;
  const positions = batch * tokens;
  const flat = (x: Tensor): Tensor2D => tf.reshape(x, [positions, vocabulary]);
  const logTeacher = tf.logSoftmax(tf.div(flat(teacher), temperature)) as Tensor2D;
  const loss = tf.customGrad((logits, save) => {
    const logStudent = tf.logSoftmax(tf.div(logits as Tensor2D, temperature)) as Tensor2D;
    const { rows, slope } = COMPARED[divergence](logTeacher, logStudent);
    (save as GradSaveFunc)([slope]);
    const gradFunc = (dy: Tensor, [saved]: Tensor[]) => tf.mul(saved!, tf.mul(dy, temperature / positions));
    return { value: tf.mul(tf.mean(rows), temperature ** 2), gradFunc };
  });
  return loss(flat(student)) as Scalar;
}

/** The divergence of each row, and its derivative in the student's logits divided by the temperature. */
interface Compared {
  readonly rows: Tensor;
  readonly slope: Tensor;
}

const sumRows = (x: Tensor): Tensor => tf.sum(x, 1, true);

const COMPARED: Readonly<Record<Divergence, (logP: Tensor2D, logQ: Tensor2D) => Compared>> = {
  forward: (logP, logQ) => {
    const p = tf.exp(logP);
    return { rows: sumRows(tf.mul(p, tf.sub(logP, logQ))), slope: tf.sub(tf.exp(logQ), p) };
  },
  reverse: (logP, logQ) => {
    const q = tf.exp(logQ);
    const ratio = tf.sub(logQ, logP);
    const rows = sumRows(tf.mul(q, ratio));
    return { rows, slope: tf.mul(q, tf.sub(ratio, rows)) };
  },
  'jensen-shannon': (logP, logQ) => {
    const [p, q] = [tf.exp(logP), tf.exp(logQ)];
    // log(q / m) = log 2 - log(1 + p / q), by softplus, which no ratio overflows.
    const ofStudent = tf.sub(Math.LN2, tf.softplus(tf.sub(logP, logQ)));
    const ofTeacher = tf.sub(Math.LN2, tf.softplus(tf.sub(logQ, logP)));
    const student = sumRows(tf.mul(q, ofStudent));
    const rows = tf.mul(tf.add(sumRows(tf.mul(p, ofTeacher)), student), 0.5);
    return { rows, slope: tf.mul(tf.mul(q, tf.sub(ofStudent, student)), 0.5) };
  },
};

/** The most likely tokens of a teacher at each position. */
export interface TopTargets {
  /** Token ids, int32 [batch, tokens, k], different ones at each position. */
  readonly ids: Tensor3D;
  /** Their probabilities, f32 [batch, tokens, k]. */
  readonly probabilities: Tensor3D;
  /** What is left for all others together, f32 [batch, tokens]. */
  readonly rest: Tensor2D;
}

/** Least probability that the student is taken to leave to all other tokens together: the step of f32 at 1. */
const LEAST_REST = 2 ** -23;

/**
 * Forward KL against the most likely tokens of the teacher, all others counting as one: KL(P || Q) over k + 1 outcomes, at
 * the temperature at which the teacher's probabilities were taken, times its square. Never more than the whole divergence.
 *
 * @param student f32 [batch, tokens, vocabulary].
 */
export function topTargetLoss(student: Tensor3D, teacher: TopTargets, temperature = 1): Scalar {
  const [batch, tokens, vocabulary] = student.shape;
  const positions = batch * tokens;
  const k = teacher.ids.shape[2];
  const starts = tf.tensor2d(
    Int32Array.from({ length: positions }, (_, i) => i * vocabulary),
    [positions, 1],
    'int32',
  );
  const places = tf.reshape(tf.add(tf.reshape(teacher.ids, [positions, k]), starts), [positions * k]);
  const chosen = (x: Tensor): Tensor2D =>
    tf.reshape(tf.gather(tf.reshape(x, [positions * vocabulary]), places as tf.Tensor1D), [positions, k]);
  const p = tf.reshape(teacher.probabilities, [positions, k]);
  const rest = tf.reshape(teacher.rest, [positions, 1]);
  const plogp = (x: Tensor): Tensor => tf.mul(x, tf.log(tf.maximum(x, 1e-30)));
  const loss = tf.customGrad((logits, save) => {
    const logQ = tf.logSoftmax(tf.div(logits as Tensor2D, temperature)) as Tensor2D;
    const logChosen = chosen(logQ);
    const q = tf.exp(logChosen);
    const others = tf.maximum(tf.sub(1, sumRows(q)), LEAST_REST);
    const inTop = sumRows(tf.sub(plogp(p), tf.mul(p, logChosen)));
    const inRest = tf.sub(plogp(rest), tf.mul(rest, tf.log(others)));
    // In the logits z: q - p for the teacher's tokens, q (1 - rest / others) elsewhere.
    const elsewhere = tf.mul(tf.exp(logQ), tf.sub(1, tf.div(rest, others)));
    const slope = tf.tensorScatterUpdate(
      tf.reshape(elsewhere, [positions * vocabulary]),
      tf.reshape(places, [positions * k, 1]),
      tf.reshape(tf.sub(q, p), [positions * k]),
    );
    (save as GradSaveFunc)([tf.reshape(slope, [positions, vocabulary])]);
    const gradFunc = (dy: Tensor, [saved]: Tensor[]) => tf.mul(saved!, tf.mul(dy, temperature / positions));
    return { value: tf.mul(tf.mean(tf.add(inTop, inRest)), temperature ** 2), gradFunc };
  });
  return loss(tf.reshape(student, [positions, vocabulary])) as Scalar;
}
