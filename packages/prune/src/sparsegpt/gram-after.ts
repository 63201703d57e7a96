// The Gram matrix of what a linear gives, from that of what it gets: Y = X Wᵀ, so YᵀY = W G Wᵀ.
import * as tf from '@tensorflow/tfjs-core';
import { compile, type Device, type WeightTensor } from '@pith/tensor-core';

/** W G Wᵀ: f64 [rows, rows], computed in f32. */
export async function gramAfter(weight: WeightTensor, gram: Float64Array, device: Device): Promise<Float64Array> {
  const [rows, columns] = weight.shape as readonly [number, number];
  const program = await compile(
    ({ w, g }) => ({ out: tf.matMul(tf.matMul(w as tf.Tensor2D, g as tf.Tensor2D), w as tf.Tensor2D, false, true) }),
    { w: { shape: [rows, columns] }, g: { shape: [columns, columns] } },
    device,
    { name: 'gram-after' },
  );
  // Divided by its largest value, so that f32 holds it.
  const unit = gram.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  try {
    const { out } = await program.run({
      w: { dtype: 'f32', shape: [rows, columns], data: (await weight.toF32()) as Float32Array<ArrayBuffer> },
      g: { dtype: 'f32', shape: [columns, columns], data: Float32Array.from(gram, (value) => value / unit) },
    });
    return Float64Array.from(out!.data as Float32Array, (value) => value * unit);
  } finally {
    await program.dispose();
  }
}
