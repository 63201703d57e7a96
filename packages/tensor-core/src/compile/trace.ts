// A function over tfjs tensors becomes a graph.
import * as tf from '@tensorflow/tfjs-core';
import { PithError } from '../errors/pith-error.ts';
import { OnnxGraph } from './graph.ts';
import type { GraphValue } from './graph.ts';
import { graphDType } from './kernels/kernel.ts';
import { withTraceBackend } from './trace-backend.ts';
import type { TraceBackend } from './trace-backend.ts';

/** Dtypes that a traced tensor can have: f32, i32 and bool on the side of the host. */
export type TensorDType = 'float32' | 'int32' | 'bool';

/** Shape and dtype of one input of a traced function. */
export interface TensorSpec {
  /** Length of each axis, outermost first; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** `float32` when left out. */
  readonly dtype?: TensorDType;
}

/** Inputs of a traced function by name. */
export type Signature = Readonly<Record<string, TensorSpec>>;

/** What a traced function gets: one tensor for each name of the signature. */
export type TracedInputs<S extends Signature> = { readonly [K in keyof S]: tf.Tensor };

/** What a traced function returns: one tensor, named `output`, or several by name. */
export type TracedResult = tf.Tensor | Readonly<Record<string, tf.Tensor>>;

/** A synchronous function over tfjs tensors. */
export type TracedFunction<S extends Signature> = (inputs: TracedInputs<S>) => TracedResult;

/**
 * Runs `fn` once on tensors without values and records what it does as an ONNX graph.
 *
 * Gradients (tf.grad, tf.grads, tf.valueAndGrads, tf.variableGrads) may be taken inside `fn`. Tensors from outside become
 * constants of the graph, and so do random numbers, which are drawn once, now. The tfjs backend in use is restored whatever
 * happens.
 *
 * @throws PithError `TRACE_SIGNATURE`, `TRACE_RESULT`, `TRACE_NESTED`, `TRACE_KERNEL_UNSUPPORTED`,
 * `TRACE_GRADIENT_UNSUPPORTED`, `TRACE_VALUE_READ`,
 * `TRACE_DTYPE`, `TRACE_KERNEL_DTYPE`.
 */
export function trace<const S extends Signature>(fn: TracedFunction<S>, signature: S, name = 'program'): OnnxGraph {
  checkSignature(signature, name);
  const graph = new OnnxGraph(name);
  return withTraceBackend(graph, (backend) => {
    const inputs: Record<string, tf.Tensor> = {};
    for (const [input, { shape, dtype = 'float32' }] of Object.entries(signature)) {
      inputs[input] = tensorOf(backend, graph.input(input, graphDType(dtype), shape), dtype);
    }
    const result = fn(inputs as TracedInputs<S>);
    for (const [output, tensor] of outputsOf(result, name)) graph.output(output, backend.recorded(tensor));
    return graph;
  });
}

function tensorOf(backend: TraceBackend, value: GraphValue, dtype: TensorDType): tf.Tensor {
  return tf.engine().makeTensorFromTensorInfo({ dataId: backend.hold(value), shape: [...value.shape], dtype }, backend);
}

function outputsOf(result: TracedResult, name: string): [string, tf.Tensor][] {
  if (result instanceof tf.Tensor) return [['output', result]];
  const refuse = (got: string): never => {
    throw new PithError(
      'TRACE_RESULT',
      `compile "${name}": the function must return a tensor or a record of tensors, got ${got}`,
      { details: { graph: name } },
    );
  };
  if (typeof result !== 'object' || result === null) return refuse(String(result));
  if (result instanceof Promise) return refuse('a promise; it must be synchronous');
  const entries = Object.entries(result);
  if (entries.length === 0) return refuse('no tensors');
  for (const [key, tensor] of entries)
    if (!(tensor instanceof tf.Tensor)) return refuse(`${typeof tensor} for "${key}"`);
  return entries;
}

function checkSignature(signature: Signature, name: string): void {
  const faults: string[] = [];
  for (const [input, { shape, dtype = 'float32' }] of Object.entries(signature)) {
    if (!shape.every((length) => Number.isSafeInteger(length) && length >= 0)) {
      faults.push(`"${input}" has the shape [${shape.join()}]`);
    }
    if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool')
      faults.push(`"${input}" has the dtype ${String(dtype)}`);
  }
  if (faults.length === 0) return;
  throw new PithError(
    'TRACE_SIGNATURE',
    `compile "${name}": inputs need whole-number axes and the dtype float32, int32 or bool, got: ${faults.join('; ')}`,
    { details: { graph: name, faults } },
  );
}
