import { denseWeight, fromF32, memoryBytes } from '@pith/tensor-core';
import { quantizeWeight } from '@pith/quant';

const values = Float32Array.from({ length: 4 * 256 }, (_, i) => Math.sin(i));
const dense = denseWeight({ name: 'w', dtype: 'bf16', shape: [4, 256], source: memoryBytes(fromF32('bf16', values)) });
const { weight } = await quantizeWeight(dense, { scheme: 'w4g128' });
const restored = await weight.toF32();
// Half a step of a range of [-1, 1] in 15 steps, and the rounding of bf16.
if (restored.some((x, i) => Math.abs(x - values[i]) > 1 / 15 + 2 ** -7)) throw new Error('not restored');
console.log(`ok ${weight.byteLength} bytes`);
