// Matrix products, plain and fused, and einsum.
import type { BatchMatMulAttrs, EinsumAttrs, _FusedMatMulAttrs } from '@tensorflow/tfjs-core';
import { PithError } from '../../errors/pith-error.ts';
import type { GraphValue, OnnxGraph } from '../graph.ts';
import { add } from '../lower/elementwise.ts';
import { matmul } from '../lower/matmul.ts';
import { ACTIVATIONS, leaky } from './elementwise.ts';
import type { KernelTable } from './kernel.ts';

function fused(graph: OnnxGraph, inputs: Record<string, GraphValue>, attributes: _FusedMatMulAttrs): GraphValue {
  const { a, b, bias, preluActivationWeights: slope } = inputs;
  const { transposeA, transposeB, activation, leakyreluAlpha } = attributes;
  const product = matmul(graph, a!, b!, transposeA, transposeB);
  const biased = bias === undefined ? product : add(graph, product, bias);
  const name = (activation ?? 'linear') as string;
  if (name === 'prelu') return leaky(graph, biased, slope!);
  if (name === 'leakyrelu') return leaky(graph, biased, graph.scalar('f32', leakyreluAlpha ?? 0.2));
  const apply = ACTIVATIONS[name];
  if (apply === undefined) {
    throw new PithError('TRACE_ACTIVATION', `compile: fused matMul has no activation ${name}; apply it afterwards`, {
      details: { activation: name },
    });
  }
  return apply(graph, biased);
}

// Labels of an axis have one length each, because tfjs's einsum does not broadcast.
function einsum(graph: OnnxGraph, inputs: readonly GraphValue[], equation: string): GraphValue {
  const plain = equation.replaceAll(/\s/g, '');
  const [left, right] = plain.split('->') as [string, string];
  const lengths = new Map<string, number>();
  left.split(',').forEach((labels, i) => {
    [...labels].forEach((label, axis) => lengths.set(label, inputs[i]!.shape[axis]!));
  });
  const shape = [...right].map((label) => lengths.get(label)!);
  return graph.op('Einsum', inputs, { dtype: inputs[0]!.dtype, shape }, { equation: { string: plain } });
}

/** Kernels of matrix products. */
export const PRODUCTS: KernelTable = {
  BatchMatMul: (graph, { a, b }, { transposeA, transposeB }: BatchMatMulAttrs) =>
    matmul(graph, a!, b!, transposeA, transposeB),
  Einsum: (graph, inputs, { equation }: EinsumAttrs) => einsum(graph, Object.values(inputs), equation),
  _FusedMatMul: (graph, inputs, attributes: _FusedMatMulAttrs) => fused(graph, inputs, attributes),
};
