// A node that has no kernel in tfjs, written into the graph of the trace in hand: how an exporter puts an operator of its own
// in the place of a linear layer.
import * as tf from '@tensorflow/tfjs-core';
import { PithError } from '../errors/pith-error.ts';
import type { Attributes } from './graph.ts';
import { graphDType } from './kernels/kernel.ts';
import { TraceBackend } from './trace-backend.ts';
import type { TensorDType, TensorSpec } from './trace.ts';

/** An operator as {@link recordNode} writes it. */
export interface RecordedNode {
  /** Name of the operator. */
  readonly opType: string;
  /** Domain of the operator; that of ONNX itself when left out. */
  readonly domain?: string;
  /** Constants of this application. */
  readonly attributes?: Attributes;
  /** Dtype and shape of the one result. */
  readonly output: TensorSpec;
}

/**
 * Records one application of any operator while a function is traced, and gives its result. It has no gradient.
 *
 * @param inputs Operands in the order of the operator.
 * @throws PithError `TRACE_OUTSIDE` where nothing is being traced.
 */
export function recordNode(inputs: readonly tf.Tensor[], node: RecordedNode): tf.Tensor {
  const { backend } = tf.engine();
  if (!(backend instanceof TraceBackend)) {
    throw new PithError(
      'TRACE_OUTSIDE',
      `record ${node.opType}: a node is recorded while a function is traced, not outside`,
      {
        kind: 'internal',
        details: { opType: node.opType },
      },
    );
  }
  const { opType, domain = '', attributes = {} } = node;
  const { shape, dtype = 'float32' } = node.output;
  const operands = inputs.map((tensor) => backend.recorded(tensor));
  const value = backend.graph.op(opType, operands, { dtype: graphDType(dtype), shape }, attributes, domain);
  const info = { dataId: backend.hold(value), shape: [...shape], dtype: dtype satisfies TensorDType };
  return tf.engine().makeTensorFromTensorInfo(info, backend);
}
