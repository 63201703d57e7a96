import { readFileSync, readdirSync } from 'node:fs';
import { it } from 'vitest';
import { compress } from './run/compress.ts';
it.each([
  ['gptq', { quantize: { method: 'gptq', scheme: 'w4g64' } }],
  ['taylor', { prune: { method: 'taylor', sparsity: 0.5 } }],
])('smoke %s', async (name, stage) => {
  const output = `/tmp/A/smoke/out-${name}`;
  try {
  await compress('/work/shared/models/stories260k', {
    output, overwrite: true, memoryBytes: 700e6, threads: 2,
    recipe: { stages: [{ ...stage }], calibration: { text: '/tmp/A/smoke/tiny.txt', samples: 128, context: 32 } } as never,
  });
  const file = readdirSync(output).find((f) => f.includes('receipt'))!;
  const receipt = JSON.parse(readFileSync(`${output}/${file}`, 'utf8'));
  console.log(name, receipt.interventions.length, JSON.stringify(receipt.interventions).slice(0, 500));
  } catch (e) { console.log(name, e); }
}, 200000);
