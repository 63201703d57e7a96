// Prunes the demo model by a method that Pith does not have, and compares it with two that it has. Run it with `node main.mjs`; it
// asserts what it claims.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { saveCheckpoint } from '@pith/checkpoint/node';
import { calibrationWindows, runBlocks } from '@pith/model';
import { openModel } from '@pith/model/node';
import { cpuDevice, createKernelPool } from '@pith/tensor-core/node';
import { evaluate, prune } from 'pith';
import { riaPass, riaScore } from './ria.mjs';

// The maths, by hand: sums of rows 3 and 3, of columns 4 and 2.
assert.deepEqual(
  [...riaScore(Float32Array.of(1, -2, 3, 0), Float32Array.of(4, 1))],
  [...Float32Array.of((1 / 3 + 1 / 4) * 2, 2 / 3 + 2 / 2, (3 / 3 + 3 / 4) * 2, 0)],
);

const demo = (path) => fileURLToPath(new URL(`../demo-model/${path}`, import.meta.url));
const directory = demo('checkpoint');
const text = demo('calibration.txt');
const folder = await mkdtemp(join(tmpdir(), 'pith-method-'));
const device = cpuDevice();
const pool = createKernelPool();

try {
  const model = await openModel(directory);
  const { windows } = calibrationWindows(model, { text: await readFile(text, 'utf8'), samples: 16, context: 128 });

  // Block after block; each sees what the pruned ones before it give.
  const weights = new Map(model.weights);
  let zeros = 0;
  await runBlocks(model, {
    device,
    pool,
    windows,
    passes: [riaPass({ sparsity: 0.5 })],
    onBlock: async ({ weights: made, rewritten, records }) => {
      for (const name of rewritten) weights.set(name, made.get(name));
      for (const { zeros: some } of Object.values(records[0].records)) zeros += some;
    },
  });
  const output = join(folder, 'ria');
  await saveCheckpoint(output, {
    configText: await readFile(join(directory, 'config.json'), 'utf8'),
    weights: weights.values(),
    files: Object.fromEntries(
      ['tokenizer.json', 'tokenizer_config.json'].map((name) => [name, { path: join(directory, name) }]),
    ),
  });
  await model.close();

  /** @type {Record<string, number>} */
  const perplexity = {};
  for (const method of ['magnitude', 'wanda']) {
    await prune(directory, {
      output: join(folder, method),
      ...{ method, sparsity: 0.5 },
      ...(method === 'wanda' && { calibration: { text, samples: 16, context: 128 } }),
    });
  }
  for (const method of ['magnitude', 'wanda', 'ria']) {
    ({ perplexity: perplexity[method] } = await evaluate(join(folder, method), { data: text, context: 128 }));
    console.log(method.padEnd(10), perplexity[method].toFixed(3));
  }
  assert.ok(zeros > 0);
  assert.ok(perplexity.ria < perplexity.magnitude);
} finally {
  await pool.dispose();
  await device.dispose();
  await rm(folder, { recursive: true, force: true });
}
