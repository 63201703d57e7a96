// Plan, quantize, measure, verify: what the command line does, from a program. Run it with `node main.mjs`; it asserts what it
// claims.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { evaluate, generate, plan, quantize, verify } from 'pith';

const demo = (path) => fileURLToPath(new URL(`../demo-model/${path}`, import.meta.url));
const model = demo('checkpoint');
const text = demo('calibration.txt');
const folder = await mkdtemp(join(tmpdir(), 'pith-example-'));
const output = join(folder, 'small');

try {
  // 1. What would happen, from headers alone.
  const options = { scheme: 'w4g128', range: 'mse' };
  const planned = await plan(model, options);
  assert.deepEqual(planned.problems, []);
  assert.ok(planned.tensors.some(({ action }) => action === 'quantize'));

  // A group that does not divide is refused before any work, for all tensors at once.
  await assert.rejects(quantize(model, { output, scheme: 'w4g96' }), { code: 'PLAN_PROBLEMS', kind: 'input' });

  // 2. Do it. `signal` would stop it; the same call again would continue.
  const events = [];
  const made = await quantize(model, { output, ...options, progress: (event) => events.push(event) });
  assert.equal(made.bytesAfter, planned.bytesAfter, 'a plan says exactly what is written');
  assert.equal(events.at(-1)?.done, events.at(-1)?.total);

  // 3. What it cost.
  const quality = await evaluate(output, { data: text, context: 128, reference: model });
  assert.ok(
    quality.perplexity / quality.referencePerplexity < 1.1,
    'four bits cost less than a tenth of perplexity here',
  );
  assert.ok(quality.top1Agreement > 0.8);

  // 4. It still talks, and it is what its receipt says.
  const { text: continuation } = await generate(output, { prompt: 'Once there was a', maxTokens: 20, temperature: 0 });
  assert.ok(continuation.length > 20);
  assert.deepEqual((await verify(output)).problems, []);

  console.log(`${planned.bytesBefore} -> ${made.bytesAfter} bytes, ${made.bitsPerWeight.toFixed(2)} bits per weight`);
  console.log(`perplexity ${quality.referencePerplexity.toFixed(3)} -> ${quality.perplexity.toFixed(3)}`);
  console.log(continuation);
} finally {
  await rm(folder, { recursive: true, force: true });
}
