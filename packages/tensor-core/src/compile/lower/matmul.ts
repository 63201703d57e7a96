// Matrix products. ONNX Runtime's FusedMatMul (com.microsoft) reads a transposed operand in place, f32 only; f64 of rank 2
// goes to Gemm, which does the same; other cases transpose first.
import { PithError } from '../../errors/pith-error.ts';
import { MICROSOFT_DOMAIN } from '../onnx/onnx-types.ts';
import type { GraphValue, OnnxGraph } from '../graph.ts';
import { splatValue } from './elementwise.ts';
import { broadcastShape, reshape, sameShape, transpose } from './shape.ts';

/**
 * a · b over the last two axes, batch axes broadcast. a is [..., m, k] ([..., k, m] with transposeA), b is [..., k, n]
 * ([..., n, k] with transposeB); the result is [..., m, n].
 *
 * @throws PithError `GRAPH_MATMUL_SHAPE` when the inner axes differ.
 */
export function matmul(
  graph: OnnxGraph,
  a: GraphValue,
  b: GraphValue,
  transposeA = false,
  transposeB = false,
): GraphValue {
  const m = a.shape.at(transposeA ? -1 : -2)!;
  const k = a.shape.at(transposeA ? -2 : -1)!;
  const n = b.shape.at(transposeB ? -2 : -1)!;
  if (k !== b.shape.at(transposeB ? -1 : -2)) {
    throw new PithError(
      'GRAPH_MATMUL_SHAPE',
      `matrix product: inner axes must be equal, got [${a.shape.join()}] (transposed: ${transposeA}) and ` +
        `[${b.shape.join()}] (transposed: ${transposeB})`,
      { details: { a: a.shape, b: b.shape, transposeA, transposeB } },
    );
  }
  const shape = [...broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2)), m, n];
  const type = { dtype: a.dtype, shape };
  // A single column: ONNX Runtime's own path for it cuts rows where the number of threads says, and rounds the last row of
  // each share differently. Read as a transposed row it takes the general path.
  if (n === 1 && !transposeB && a.dtype === 'f32') {
    const row = reshape(graph, b, [...b.shape.slice(0, -2), 1, k]);
    return matmul(graph, a, row, transposeA, true);
  }
  if (a.dtype === 'f32') {
    const [left, right] = [unscaled(graph, a), unscaled(graph, b)];
    const alpha = Math.fround(left.factor * right.factor);
    if (!transposeA && !transposeB && alpha === 1) return graph.op('MatMul', [a, b], type);
    const flags = {
      transA: { int: transposeA ? 1 : 0 },
      transB: { int: transposeB ? 1 : 0 },
      ...(alpha !== 1 && { alpha: { float: alpha } }),
    };
    const operands = alpha === 1 ? [a, b] : [left.value, right.value];
    return graph.op('FusedMatMul', operands, type, flags, MICROSOFT_DOMAIN);
  }
  if (!transposeA && !transposeB) return graph.op('MatMul', [a, b], type);
  if (a.dtype === 'f64' && a.shape.length === 2 && b.shape.length === 2) {
    return graph.op('Gemm', [a, b], type, {
      transA: { int: transposeA ? 1 : 0 },
      transB: { int: transposeB ? 1 : 0 },
    });
  }
  const left = transposeA ? swapLast(graph, a) : a;
  const right = transposeB ? swapLast(graph, b) : b;
  return graph.op('MatMul', [left, right], type);
}

/**
 * What an operand is a multiple of, and the factor: the product takes it as its own, for free, where a pass over the
 * operand would be needed. Gradients are often such multiples (divided by the number of tokens, by the root of a length).
 */
function unscaled(graph: OnnxGraph, x: GraphValue): { readonly value: GraphValue; readonly factor: number } {
  const source = x.node?.opType === 'Reshape' ? x.node.inputs[0]! : x;
  const { node } = source;
  if (node?.opType !== 'Mul' && node?.opType !== 'Div') return { value: x, factor: 1 };
  const [first, second] = node.inputs as [GraphValue, GraphValue];
  const by = splatValue(second);
  const pairs =
    node.opType === 'Div'
      ? [[first, by === undefined ? undefined : 1 / by] as const]
      : [[first, by] as const, [second, splatValue(first)] as const];
  for (const [value, factor] of pairs) {
    // A factor that f32 cannot hold, or that broadcasts what it multiplies, is no such multiple.
    if (
      factor === undefined ||
      !Number.isFinite(factor) ||
      Math.abs(factor) < 2 ** -100 ||
      !sameShape(value.shape, source.shape)
    )
      continue;
    return { value: reshape(graph, value, x.shape), factor };
  }
  return { value: x, factor: 1 };
}

function swapLast(graph: OnnxGraph, x: GraphValue): GraphValue {
  const rank = x.shape.length;
  const perm = Array.from({ length: rank }, (_, i) => i);
  perm[rank - 2] = rank - 1;
  perm[rank - 1] = rank - 2;
  return transpose(graph, x, perm);
}
