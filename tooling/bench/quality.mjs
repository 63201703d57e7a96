// `npm run quality [-- filter ...]`: runs the rows of quality-rows.mjs through the command line as a user would, evaluates each
// artefact under the protocol of the reference table, keeps the numbers in quality-results.json, and renders docs/quality.md.
// A filter is a part of "model method scheme"; rows that no filter matches keep their earlier numbers.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROWS } from './quality-rows.mjs';
import { findReference, renderQuality, spreadOf, verdict } from './quality-report.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const shared = fileURLToPath(new URL('../../../shared/', import.meta.url));
const cli = fileURLToPath(new URL('../../packages/pith/dist/cli/main.js', import.meta.url));
const work = join(here, '.work', 'quality');
const kept = join(here, 'quality-results.json');
const reference = JSON.parse(readFileSync(join(shared, 'golden/quality.json'), 'utf8'));
const TEXT = { stories260k: 'stories', docs6m: 'docs' };

const key = ({ model, method, scheme }) => `${model} ${method} ${scheme}`;

/** Runs the command line and gives the JSON that it prints. */
function pith(args) {
  const text = execFileSync(process.execPath, [cli, ...args, '--json', '--quiet'], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  return JSON.parse(text);
}

function measure({ model, calibration, stages, output }) {
  const text = TEXT[model];
  const recipe = {
    version: 1,
    ...(calibration && {
      calibration: { text: join(shared, `data/${text}-calibration.txt`), samples: 128, context: 256, ...calibration },
    }),
    stages,
    ...(output && { output }),
  };
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  // YAML holds JSON.
  writeFileSync(join(work, 'recipe.yaml'), JSON.stringify(recipe));
  const out = join(work, 'out');
  const source = join(shared, 'models', model);
  const { seconds, bitsPerWeight } = pith(['compress', source, '-r', join(work, 'recipe.yaml'), '-o', out]);
  const { perplexity } = pith(['eval', out, '--data', join(shared, `data/${text}-eval.txt`), '--context', '256']);
  return { perplexity, seconds, bitsPerWeight };
}

/** Dampings a little beside the default, which is 0.01. */
const NEIGHBOURS = [0.00999, 0.01001, 0.0099, 0.0101];

/** A row that sweeps over columns, with another damping. */
function damped(row, damping) {
  const stages = row.stages.map((stage) =>
    Object.fromEntries(Object.entries(stage).map(([kind, options]) => [kind, { ...options, damping }])),
  );
  return { ...row, stages };
}

/** Measures a row, and its neighbours where it comes out worse than the reference and rounding may be why. */
function judged(row) {
  const measured = measure(row);
  const theirs = findReference(reference, row)?.perplexity;
  const sweeps = row.stages.some(({ quantize, prune }) => quantize?.method === 'gptq' || prune?.method === 'sparsegpt');
  if (!sweeps || theirs === undefined) return measured;
  if (verdict(measured, theirs, spreadOf(reference, row)) !== 'worse') return measured;
  return { ...measured, neighbours: NEIGHBOURS.map((damping) => measure(damped(row, damping)).perplexity) };
}

const filters = process.argv.slice(2);
const known = existsSync(kept) ? JSON.parse(readFileSync(kept, 'utf8')).rows : {};
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: here, encoding: 'utf8' }).trim();
const rows = {};
/** Keeps what there is after each row: a run takes long and may be stopped. Rows that were not reached keep their numbers. */
function keep() {
  const all = Object.fromEntries(
    ROWS.map(key).flatMap((name) => ((rows[name] ?? known[name]) ? [[name, rows[name] ?? known[name]]] : [])),
  );
  writeFileSync(kept, `${JSON.stringify({ kind: 'quality', rows: all }, null, 2)}\n`);
  renderQuality({ rows: all, reference, target: fileURLToPath(new URL('../../docs/quality.md', import.meta.url)) });
}

for (const row of ROWS) {
  const name = key(row);
  const chosen = filters.length === 0 || filters.some((filter) => name.includes(filter));
  if (!chosen) {
    if (known[name]) rows[name] = known[name];
    continue;
  }
  try {
    rows[name] = { ...judged(row), commit };
    keep();
    console.log(`${name}: ${rows[name].perplexity.toFixed(4)}`);
  } catch (error) {
    console.error(`${name}: ${error.stderr || error.message}`);
    process.exitCode = 1;
  }
}
rmSync(work, { recursive: true, force: true });
keep();
