// `npm run bench [-- name ...]`: runs the benchmarks, keeps each result in results/, renders docs/benchmarks.md from all results.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchEvaluate } from './evaluate.mjs';
import { benchGguf } from './ggml/export.mjs';
import { benchGgmlTypes } from './ggml/types.mjs';
import { benchGptq } from './gptq.mjs';
import { benchGptqModel } from './gptq-model.mjs';
import { benchGram } from './gram.mjs';
import { benchKernels } from './kernels.mjs';
import { machine } from './measure.mjs';
import { benchPrune } from './prune.mjs';
import { benchQuantize } from './quantize.mjs';
import { render } from './report.mjs';
import { benchStartup } from './startup.mjs';
import { benchSvd } from './svd.mjs';
import { benchTraining } from './training.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const work = join(here, '.work');
const pith = fileURLToPath(new URL('../../packages/pith/dist/cli/main.js', import.meta.url));

const MSE = ['--range', 'mse'];
const BENCHMARKS = {
  startup: () => benchStartup({ pith }),
  'quantize-2gb': () => benchQuantize({ work, pith }),
  'quantize-4gb': () => benchQuantize({ work, pith, layers: 44, rounds: 2 }),
  'quantize-mse': () => benchQuantize({ work, pith, flags: MSE, rounds: 2 }),
  'prune-wanda': () => benchPrune({ work, name: 'prune wanda 50%', flags: ['--method', 'wanda'] }),
  'prune-wanda-2-4': () =>
    benchPrune({ work, name: 'prune wanda 2:4', flags: ['--method', 'wanda', '--pattern', '2:4'], rounds: 2 }),
  'prune-magnitude': () =>
    benchPrune({
      work,
      name: 'prune magnitude 50% (by layer)',
      flags: ['--method', 'magnitude', '--comparison', 'layer'],
      rounds: 2,
    }),
  'kernel-int4': () => benchKernels({}),
  'kernel-int4-one-thread': () => benchKernels({ threads: 1 }),
  'kernel-int4-mse': () => benchKernels({ search: true }),
  'ggml-types': () => benchGgmlTypes({ work }),
  'gguf-q8_0': () => benchGguf({ work, pith, variant: 'q8_0' }),
  'gguf-q4_0': () => benchGguf({ work, pith, variant: 'q4_0' }),
  'gguf-q4_k_m': () => benchGguf({ work, pith, variant: 'q4_k_m' }),
  'gguf-q6_k': () => benchGguf({ work, pith, variant: 'q6_k' }),
  evaluate: () => benchEvaluate({ work, pith }),
  training: () => benchTraining(),
  'training-one-thread': () => benchTraining(['1']),
  'training-teacher': () => benchTraining(['1', 'teacher']),
  svd: () => benchSvd(['--full']),
  'svd-one-thread': () => benchSvd(['--threads', '1']),
  gram: () => benchGram(),
  'gram-two-threads': () => benchGram(['--threads', '2']),
  'gptq-layer': () => benchGptq(),
  'gptq-layer-two-threads': () => benchGptq(['--threads', '2']),
  'gptq-model': () => benchGptqModel({ work, pith }),
  'gptq-layer-default': () => benchGptq(['--range', 'mse', '--act-order', 'weight']),
};

const names = process.argv.slice(2);
for (const name of names) {
  if (!(name in BENCHMARKS)) {
    console.error(`bench: no benchmark is called ${name}; there are ${Object.keys(BENCHMARKS).join(', ')}`);
    process.exit(2);
  }
}
mkdirSync(work, { recursive: true });
mkdirSync(join(here, 'results'), { recursive: true });
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: here, encoding: 'utf8' }).trim();
for (const name of names.length > 0 ? names : Object.keys(BENCHMARKS)) {
  const before = machine();
  const result = await BENCHMARKS[name]();
  const record = { ...result, machine: before, commit, date: new Date().toISOString().slice(0, 10) };
  writeFileSync(join(here, 'results', `${name}.json`), `${JSON.stringify(record, null, 2)}\n`);
  console.log(JSON.stringify(record, null, 2));
}
render(join(here, 'results'), fileURLToPath(new URL('../../docs/benchmarks.md', import.meta.url)));
