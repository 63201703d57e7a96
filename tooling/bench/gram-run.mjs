// The Gram matrix of 16,384 x 2048 inputs, f32, eight batches of 2048 tokens, as calibration sums it: products in the graph, sums in f64.
// Prints one JSON document. `node gram-run.mjs [--threads N]`
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { compile, randomStream } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';

// Not public: a block program has it inside.
const { addGram, gramOf, mirrorUpper } = await import(
  new URL('../../packages/model/dist/calibrate/gram-panels.js', import.meta.url).href
);

const { values: flags } = parseArgs({ options: { threads: { type: 'string' } } });
const threads = Number(flags.threads ?? 1);
const [tokens, columns, batches] = [2048, 2048, 8];
const random = randomStream(0, 'gram');
const data = Float32Array.from({ length: tokens * columns }, () => 2 * random.uniform() - 1);
const device = cpuDevice({ threads });
const shape = [tokens, columns];
const program = await compile(
  ({ x }) => Object.fromEntries(gramOf(x).map((panel, i) => [`${i}`, panel])),
  { x: { dtype: 'float32', shape } },
  device,
);
/** @type {number[]} */
const seconds = [];
/** @type {number[]} */
const cpuSeconds = [];
for (let round = 0; round < 5; round++) {
  const start = performance.now();
  const used = process.cpuUsage();
  const total = new Float64Array(columns * columns);
  for (let batch = 0; batch < batches; batch++) {
    const panels = await program.run({ x: { dtype: 'f32', shape, data } });
    addGram(
      total,
      columns,
      Object.values(panels).map((panel) => panel.data),
    );
  }
  if (!mirrorUpper(total, columns)) throw new Error('the Gram matrix is not finite');
  const { user, system } = process.cpuUsage(used);
  seconds.push((performance.now() - start) / 1000);
  cpuSeconds.push((user + system) / 1e6);
}
await program.dispose();
await device.dispose();
const median = (/** @type {number[]} */ list) => list.sort((a, b) => a - b)[2];
console.log(
  JSON.stringify({
    ...{ tokens: tokens * batches, columns, threads, seconds: median(seconds), cpuSeconds: median(cpuSeconds) },
    leastCpuSeconds: Math.min(...cpuSeconds),
  }),
);
