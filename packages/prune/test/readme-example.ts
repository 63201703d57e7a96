import { denseWeight, fromF32, localHost, memoryBytes, randomStream } from '@pith/tensor-core';
import { parsePattern, pruneInto } from '@pith/prune';

// A weight: [rows, columns] in f32, f16 or bf16; here 64 output channels of 256 inputs in memory, and the norms of its inputs.
const random = randomStream(1, 'example');
const values = Float32Array.from({ length: 64 * 256 }, () => 0.02 * random.normal());
const source = memoryBytes(fromF32('bf16', values));
const weight = denseWeight({ name: 'example.weight', dtype: 'bf16', shape: [64, 256], source });
const norms = Float32Array.from({ length: 256 }, () => random.uniform());

// Wanda, 2 of each 4 neighbours stay: a KernelPool does the same on many threads, file to file.
const bytes = new Uint8Array(weight.byteLength);
const { zeros, lostScore } = await pruneInto(
  weight,
  { kind: 'memory', bytes },
  {
    host: localHost(),
    pattern: parsePattern('2:4'),
    comparison: 'row',
    factors: { per: 'column', values: norms },
  },
);
console.log(zeros, lostScore);
