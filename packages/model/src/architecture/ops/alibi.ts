// Attention with linear biases (Press et al. 2022): what is added to the score of a query and a key grows with the position of
// the key, which after the softmax is the same as if it fell with their distance.
import { fromF32, toF32 } from '@pith/tensor-core';
import type { ModelConfig } from '../../config/model-config.ts';

/** The slope of each head, f32: powers of 2^(-8 / n) for n heads, with powers of its root between where n is no power of two. */
export function alibiSlopes(heads: number): Float32Array {
  const power = 2 ** Math.floor(Math.log2(heads));
  const base = Math.fround(2 ** -(2 ** -(Math.log2(power) - 3)));
  const between = Math.fround(2 ** -(2 ** -(Math.log2(2 * power) - 3)));
  return Float32Array.from({ length: heads }, (_, head) =>
    head < power ? base ** (head + 1) : between ** (2 * (head - power) + 1),
  );
}

const roundedToBf16 = (values: Float32Array): Float32Array => toF32('bf16', fromF32('bf16', values));

/**
 * What is added to the scaled scores of each head: f32 [heads, past + tokens] row-major. Keys as in `causalMask`: `past` slots of
 * which the first `pastUsed` are filled, then the new tokens.
 */
export function alibiBias(
  { heads, alibi, attentionScale }: Pick<ModelConfig, 'heads' | 'alibi' | 'attentionScale'>,
  tokens: number,
  past: number,
  pastUsed: number,
): Float32Array {
  const columns = past + tokens;
  const slopes = alibi?.roundedToBf16 ? roundedToBf16(alibiSlopes(heads)) : alibiSlopes(heads);
  const bias = new Float32Array(heads * columns);
  for (let head = 0; head < heads; head++) {
    for (let key = 0; key < columns; key++) {
      bias[head * columns + key] = slopes[head] * (key < past ? key : pastUsed + key - past);
    }
  }
  const rounded = alibi?.roundedToBf16 ? roundedToBf16(bias) : bias;
  return alibi?.beforeScale ? rounded.map((value) => value * attentionScale) : rounded;
}
