// Gradients of matrix products and of einsum (which tfjs itself cannot differentiate).
import * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '../onnx/onnx-types.ts';
import { sumTo } from './gradient.ts';
import type { GradientTable, InputGradients } from './gradient.ts';

const product = (a: tf.Tensor, b: tf.Tensor, ta: boolean, tb: boolean): tf.Tensor => tf.matMul(a, b, ta, tb);
const rows = (x: tf.Tensor): tf.Tensor => tf.reshape(x, [-1, x.shape.at(-1)!]);
const isMatrix = (x: tf.Tensor): boolean => sizeOf(x.shape.slice(0, -2)) === 1;

// y = op(a) op(b), op(m) = m or its transpose. Each gradient is a product whose transposes make the result come out in the
// stored orientation. A matrix shared by a batch (a linear layer's weight) gets one long product instead of a sum of many.
function matmulGradient(dy: tf.Tensor, a: tf.Tensor, b: tf.Tensor, attributes: tf.BatchMatMulAttrs): InputGradients {
  const { transposeA, transposeB } = attributes;
  return {
    a: () => {
      const da = transposeA ? product(b, dy, transposeB, true) : product(dy, b, false, !transposeB);
      return sumTo(da, a.shape);
    },
    b: () => {
      if (!transposeA && isMatrix(b) && !isMatrix(a)) {
        const db = transposeB ? product(rows(dy), rows(a), true, false) : product(rows(a), rows(dy), true, false);
        return tf.reshape(db, b.shape);
      }
      const db = transposeB ? product(dy, a, true, transposeA) : product(a, dy, !transposeA, false);
      return sumTo(db, b.shape);
    },
  };
}

// The gradient of one operand is the einsum of dy with all others onto its labels; labels that only it has were summed, so
// their gradient is the same all along.
function einsumGradient(dy: tf.Tensor, inputs: tf.Tensor[], equation: string): InputGradients {
  const [left, right] = equation.replaceAll(/\s/g, '').split('->') as [string, string];
  const labels = left.split(',');
  const gradient = (i: number): tf.Tensor => {
    const own = labels[i]!;
    const others = labels.filter((_, j) => j !== i);
    const known = [...own].filter((label) => right.includes(label) || others.some((other) => other.includes(label)));
    const inner = tf.einsum(`${[right, ...others].join()}->${known.join('')}`, dy, ...inputs.filter((_, j) => j !== i));
    const shape = [...own].map((label, axis) => (known.includes(label) ? inputs[i]!.shape[axis]! : 1));
    return tf.broadcastTo(tf.reshape(inner, shape), inputs[i]!.shape);
  };
  return Object.fromEntries(inputs.map((_, i) => [i, () => gradient(i)]));
}

/** Gradients of products. */
export const PRODUCT_GRADIENTS: GradientTable = {
  BatchMatMul: {
    inputs: ['a', 'b'],
    formula: (dy: tf.Tensor, [a, b], attributes: tf.BatchMatMulAttrs) => matmulGradient(dy, a!, b!, attributes),
  },
  Einsum: {
    inputs: 'all',
    formula: (dy: tf.Tensor, inputs, { equation }: tf.EinsumAttrs) => einsumGradient(dy, inputs, equation),
  },
};
