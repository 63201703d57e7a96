import { describe, expect, it } from 'vitest';
import { createKernelPool } from './kernel-pool.ts';

describe('createKernelPool', () => {
  it('runs a kernel on a worker over the shared memory', async () => {
    const pool = createKernelPool({ threads: 2 });
    const source = pool.allocate(7 * 2);
    const target = pool.allocate(7 * 4);
    source.u16.set([0x3f80, 0xbf80, 0, 0x4000, 0x7f80, 0x0001, 0x4049]);
    await pool.run([{ op: 'call', kernel: 'bf16ToF32', args: [source.at, target.at, 7] }]);
    expect([...target.f32]).toEqual([1, -1, 0, 2, Infinity, 2 ** -133, 3.140625]);
    await pool.dispose();
  });
});
