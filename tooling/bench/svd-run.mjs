// The matrix that the peers are timed on: 4096 x 4096 f32, singular values k^-0.5, to rank 1024. It is made of Hadamard
// matrices with signs, so that its singular values, and with them the best error, are known exactly. Prints one JSON document.
// `node svd-run.mjs [--size N] [--threads N] [--full]`; --full times the whole decomposition as well.
import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { compileGraph, OnnxGraph, randomizedSvd, svd } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';

const { values: flags } = parseArgs({
  options: { size: { type: 'string' }, threads: { type: 'string' }, full: { type: 'boolean' } },
});
const n = Number(flags.size ?? 4096);
const rank = n / 4;
const oversampling = n / 64;
const powerIterations = 2;
const threads = Number(flags.threads ?? availableParallelism());
const device = cpuDevice({ threads });

const spectrum = Float64Array.from({ length: n }, (_, i) => (i + 1) ** -0.5);
const matrix = { dtype: /** @type {const} */ ('f32'), shape: [n, n], data: planted(spectrum) };
const total = norm(spectrum);
const best = norm(spectrum.subarray(rank)) / total;

/** @type {number[]} */
const seconds = [];
let error = 0;
for (let round = 0; round < 3; round++) {
  const start = performance.now();
  const found = await randomizedSvd(matrix, device, { rank, oversampling, powerIterations, seed: round });
  seconds.push((performance.now() - start) / 1000);
  error = Math.max(error, (await residual(found)) / total);
}
let fullSeconds = null;
if (flags.full) {
  const start = performance.now();
  await svd(matrix, device);
  fullSeconds = (performance.now() - start) / 1000;
}
await device.dispose();
seconds.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    shape: [n, n],
    rank,
    oversampling,
    powerIterations,
    threads,
    seconds: seconds[1],
    errorToBest: error / best,
    fullSeconds,
  }),
);

/**
 * A = D H diag(values, permuted) H, with H the orthonormal Hadamard matrix and D signs.
 * @param {Float64Array} values
 */
function planted(values) {
  const data = new Float32Array(n * n);
  const row = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) row[k] = (sign(i & k) * values[(k * 1237 + 13) % n]) / n;
    for (let half = 1; half < n; half *= 2) {
      for (let at = 0; at < n; at += 2 * half) {
        for (let k = at; k < at + half; k++) {
          const [x, y] = [row[k], row[k + half]];
          row[k] = x + y;
          row[k + half] = x - y;
        }
      }
    }
    for (let k = 0; k < n; k++) data[i * n + k] = sign((i * 40503) >> 3) * row[k];
  }
  return data;
}

/** @param {number} bits */
function sign(bits) {
  let parity = bits ^ (bits >> 8);
  for (const shift of [4, 2, 1]) parity ^= parity >> shift;
  return parity & 1 ? -1 : 1;
}

/**
 * The norm of A - U S V^T.
 * @param {import('@pith/tensor-core').RandomizedSvd<'f32'>} found
 */
async function residual({ u, s, v }) {
  const graph = new OnnxGraph('residual');
  const inputs = [
    graph.input('u', 'f32', [n, rank]),
    graph.input('v', 'f32', [n, rank]),
    graph.input('a', 'f32', [n, n]),
  ];
  const attributes = { alpha: { float: -1 }, transB: { int: 1 } };
  graph.output('r', graph.op('Gemm', inputs, { dtype: 'f32', shape: [n, n] }, attributes));
  const program = await compileGraph(graph, device);
  const scaled = u.data.map((value, i) => value * s[i % rank]);
  const { r } = await program.run({ u: { ...u, data: scaled }, v, a: matrix });
  await program.dispose();
  return norm(/** @type {Float32Array} */ (r.data));
}

/** @param {ArrayLike<number>} values */
function norm(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
  return Math.sqrt(sum);
}
