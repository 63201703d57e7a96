// GPTQ of one layer from its Gram matrix, as `gptqPass` does it: 5632 x 2048, w4g128, f32. Inputs are independent with sizes 1 to
// 7, as the peer's. Prints one JSON document. `node gptq-run.mjs [--threads N] [--range R] [--act-order O]`.
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { gptqPass } from '@pith/quant';
import { denseWeight, fromF32, memoryBytes, randomStream } from '@pith/tensor-core';
import { cpuDevice, createKernelPool } from '@pith/tensor-core/node';

const { values: flags } = parseArgs({
  options: { threads: { type: 'string' }, range: { type: 'string' }, 'act-order': { type: 'string' } },
});
const threads = Number(flags.threads ?? 1);
const [rows, columns, tokens] = [5632, 2048, 16384];
const scheme = 'w4g128';
const range = flags.range ?? 'minmax';
const actOrder = /** @type {'none' | 'weight' | 'group'} */ (flags['act-order'] ?? 'none');
const random = randomStream(0, 'gptq layer');

const values = Float32Array.from({ length: rows * columns }, () => 0.02 * random.normal());
const gram = new Float64Array(columns * columns);
for (let i = 0; i < columns; i++) {
  for (let j = 0; j <= i; j++) {
    const size = ((i % 7) + 1) * ((j % 7) + 1);
    const value = size * (i === j ? tokens : Math.sqrt(tokens) * random.normal());
    gram[i * columns + j] = gram[j * columns + i] = value;
  }
}

const name = 'up_proj.weight';
const source = memoryBytes(fromF32('f32', values));
const weight = denseWeight({ name, dtype: 'f32', shape: [rows, columns], source });
const linear = { path: 'up_proj', name, inputGroup: 'input', inFeatures: columns, outFeatures: rows };
const stage = {
  block: { path: 'layer', linears: [linear] },
  linears: [linear],
  weights: new Map([[name, weight]]),
  statistics: new Map([['input', { tokens, inFeatures: columns, gram }]]),
};
const device = cpuDevice({ threads });
const pool = createKernelPool({ threads });
const pass = gptqPass({ scheme, range, actOrder });
/** @type {number[]} */
const seconds = [];
/** @type {number[]} */
const cpuSeconds = [];
let outputError = null;
for (let round = 0; round < 5; round++) {
  const start = performance.now();
  const used = process.cpuUsage();
  const { records } = await pass.apply(/** @type {any} */ (stage), { device, pool, seed: 0 });
  const { user, system } = process.cpuUsage(used);
  seconds.push((performance.now() - start) / 1000);
  cpuSeconds.push((user + system) / 1e6);
  outputError = records[name].outputError;
}
await pool.dispose();
await device.dispose();
const median = (/** @type {number[]} */ list) => list.sort((a, b) => a - b)[2];
console.log(
  JSON.stringify({
    ...{ shape: [rows, columns], scheme, range, actOrder, threads },
    ...{ seconds: median(seconds), cpuSeconds: median(cpuSeconds), outputError },
  }),
);
