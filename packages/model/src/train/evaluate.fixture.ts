// Evaluates a function over tensors the way that the trainer does: compiled, on the CPU device.
import { compile } from '@pith/tensor-core';
import type { HostTensor, TensorSpec, TracedResult } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import type { Tensor } from '@tensorflow/tfjs-core';

/** Values of an f32 or i32 tensor with its shape. */
export const f32 = (shape: readonly number[], values: readonly number[]): HostTensor<'f32'> => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from(values),
});

/** See {@link f32}. */
export const i32 = (shape: readonly number[], values: readonly number[]): HostTensor<'i32'> => ({
  dtype: 'i32',
  shape,
  data: Int32Array.from(values),
});

/** The outputs of `fn` as plain arrays by name; a single tensor is called `output`. */
export async function evaluate(
  fn: (inputs: Readonly<Record<string, Tensor>>) => TracedResult,
  inputs: Readonly<Record<string, HostTensor<'f32' | 'i32'>>>,
): Promise<Record<string, number[]>> {
  const signature = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, dtype }]): [string, TensorSpec] => [
      name,
      { shape, dtype: dtype === 'f32' ? 'float32' : 'int32' },
    ]),
  );
  const device = cpuDevice({ threads: 1 });
  const program = await compile(fn, signature, device);
  const outputs = await program.run(inputs);
  await device.dispose();
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data as Float32Array)]),
  );
}
