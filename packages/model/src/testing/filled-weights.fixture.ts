// Weights that anybody can make again, for tests that hold numbers of other implementations.
import { denseWeight, fromF32, memoryBytes, type WeightTensor } from '@pith/tensor-core';

/**
 * The values of a stored tensor: uniform by a hash of its name (FNV-1a) and the index (the finalizer of MurmurHash3); matrices and
 * biases within 0.3 of zero, weights of norms within 0.2 of one.
 */
export function filledValues(name: string, shape: readonly number[], normsAtZero = false): Float32Array {
  let seed = 2166136261;
  for (const byte of new TextEncoder().encode(name)) seed = Math.imul(seed ^ byte, 16777619);
  const norm = shape.length === 1 || name.includes('norm');
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => {
    let x = (Math.imul(i, 0x9e3779b9) + seed) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    const u = ((x ^ (x >>> 16)) >>> 0) / 2 ** 32 - 0.5;
    if (name.endsWith('bias') || !norm) return 0.6 * u;
    return 0.4 * u + (normsAtZero ? 0 : 1);
  });
}

/** {@link filledValues} as a weight in memory. */
export function filledWeight(name: string, shape: readonly number[], normsAtZero = false): WeightTensor {
  const bytes = fromF32('f32', filledValues(name, shape, normsAtZero));
  return denseWeight({ name, dtype: 'f32', shape, source: memoryBytes(bytes) });
}
