// The quantization kernel alone: bf16 in memory to packed int4 in groups of 128 with error sums, on one or all threads.
import { availableParallelism } from 'node:os';

const COLUMNS = 2048;
const ROWS = 512; // 2 MiB of bf16 for each job
const GROUP = 128;
const CANDIDATES = 20;

/**
 * @param {{ search?: boolean, threads?: number, seconds?: number }} options `search`: MSE search over 20 shrink factors.
 * The best of rounds of about 0.1 s counts: what a machine without other work does.
 */
export async function benchKernels({ search = false, threads = availableParallelism(), seconds = 8 }) {
  const { fromF32, randomStream } = await import('@pith/tensor-core');
  const { createKernelPool } = await import('@pith/tensor-core/node');
  const pool = createKernelPool({ threads });
  const random = randomStream(1, 'bench');
  const values = fromF32(
    'bf16',
    Float32Array.from({ length: ROWS * COLUMNS }, () => 0.02 * random.normal()),
  );
  const jobs = Array.from({ length: threads }, () => {
    const source = pool.allocate(values.length);
    source.u8.set(values);
    const factors = pool.allocate(CANDIDATES * 4);
    factors.f32.set(Float32Array.from({ length: CANDIDATES }, (_, i) => 1 - (i * 0.8) / CANDIDATES));
    const [codes, scales, errors, scratch] = [(ROWS * COLUMNS) / 2, (ROWS * COLUMNS) / GROUP, ROWS * 32, 65536].map(
      (bytes) => pool.allocate(Math.ceil(bytes * 2)).at,
    );
    const bf16 = 2;
    const args = [
      ...[source.at, bf16, ROWS, COLUMNS, GROUP, 4, 0, bf16, bf16], // dtype, shape, int4, symmetric, arithmetic, scales
      ...(search ? [4, 0, factors.at, CANDIDATES, 2, 1, 0] : [0, 0, factors.at, 0, 2, 1, 0]), // range rule
      ...[codes, 1, scales, 0, errors, scratch], // packed
    ];
    const step = { op: 'call', kernel: 'quantizeRows', args, expect: -1 };
    return Array.from({ length: search ? 6 : 60 }, () => step);
  });
  const weights = jobs.length * jobs[0].length * ROWS * COLUMNS;
  let best = Infinity;
  for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
    const start = performance.now();
    await Promise.all(jobs.map((steps) => pool.run(steps)));
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  await pool.dispose();
  const name = `kernel: bf16 to packed int4, groups of 128${search ? ', MSE search' : ''}`;
  return { name, threads, weightsPerSecond: weights / best, bytesPerSecond: (2 * weights) / best };
}
