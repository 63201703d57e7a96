// `npm start`: two techniques in a row on the bundled demo model, as a user would type it, with a summary of what they did.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { ensureInstalled, requireNode, root, turbo } from './workspace.mjs';

requireNode();
ensureInstalled();
console.log('Building ...');
if (turbo(['build', '--filter=pith', '--output-logs=errors-only', '--log-order=grouped']).status !== 0) process.exit(1);

const model = 'examples/demo-model/checkpoint';
const recipe = 'examples/demo-model/recipe.yaml';
const output = 'build/demo-small';
const prompt = 'Once there was a';
rmSync(join(root, output), { recursive: true, force: true });
if (!existsSync(join(root, model))) throw new Error(`the demo model is missing: ${model}`);

/** Runs one command of the command line and shows it; its progress goes to the terminal, its result comes back. */
function pith(args) {
  console.log(`\n$ npx pith ${args.map((arg) => (/\s/.test(arg) ? `"${arg}"` : arg)).join(' ')}`);
  const main = join(root, 'packages/pith/dist/cli/main.js');
  const { status, stdout } = spawnSync(process.execPath, [main, ...args, '--json'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (status !== 0) {
    process.stderr.write(stdout);
    process.exit(status ?? 1);
  }
  return JSON.parse(stdout);
}

const whole = pith(['inspect', model]);
console.log(
  `${whole.architecture}, ${whole.parameters.toLocaleString('en')} parameters, ${Object.keys(whole.dtypes).join(', ')}`,
);
const small = pith(['compress', model, '-r', recipe, '-o', output]);
const { before: dense, after: compressed } = small.quality;
for (const which of [model, output]) {
  const { text } = pith(['generate', which, '--prompt', prompt, '--max-tokens', '40', '--temperature', '0']);
  console.log(prompt + text);
}

const kB = (bytes) => `${(bytes / 1000).toLocaleString('en', { maximumFractionDigits: 0 })} kB`;
const rows = [
  ['', 'before', 'after'],
  ['size', kB(small.bytesBefore), kB(small.bytesAfter)],
  ['bits per weight', ((8 * whole.bytes) / whole.parameters).toFixed(2), small.bitsPerWeight.toFixed(2)],
  ['perplexity', dense.perplexity.toFixed(3), compressed.perplexity.toFixed(3)],
];
console.log();
for (const [label, a, b] of rows) console.log(`${label.padEnd(18)}${a.padStart(12)}${b.padStart(12)}`);
console.log(
  `\nKL divergence ${compressed.kl.toFixed(4)} nats a token; the same most likely token ${(compressed.top1Agreement * 100).toFixed(1)}% of the time.`,
);
console.log(
  `The artefact lies in ${relative(process.cwd(), join(root, output)) || '.'}; what was done is told in its report.html and, for programs, in ${small.receipt}`,
);
