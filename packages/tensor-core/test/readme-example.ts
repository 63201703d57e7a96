import { dtypeInfo, fromF32, memoryBytes, pack, denseWeight, randomStream, toF32, unpack } from '@pith/tensor-core';
import { createKernelPool } from '@pith/tensor-core/node';

// Any dtype to f32 and back, rounded half to even.
const random = randomStream(7, 'weights');
const values = Float32Array.from({ length: 6 }, () => random.normal());
const bytes = fromF32('bf16', values);
console.log(dtypeInfo('bf16').epsilon, toF32('bf16', bytes));

// A stored weight: nothing is read until asked for.
const weight = denseWeight({ name: 'w', dtype: 'bf16', shape: [3, 2], source: memoryBytes(bytes) });
console.log(weight.byteLength, await weight.slice(1, 2).toF32());

// Four-bit codes in 32-bit words, and back.
const shape = { rows: 1, columns: 3, bits: 4 };
console.log(unpack(pack(Int8Array.of(-8, 7, 0), shape), shape));

// The same kernels on worker threads, over shared memory.
const pool = createKernelPool({ threads: 2 });
const source = pool.allocate(bytes.length);
const target = pool.allocate(values.length * 4);
source.u8.set(bytes);
await pool.run([{ op: 'call', kernel: 'bf16ToF32', args: [source.at, target.at, values.length] }]);
console.log(target.f32);
await pool.dispose();
