// The examples of the readme and of the guides run as they stand, in a directory that has what they speak of.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { denseWeight, memoryBlock, memoryBytes, quantizedWeight, type WeightTensor } from '@pith/tensor-core';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openCheckpoint, saveCheckpoint } from './node/index.ts';

const packageRoot = join(import.meta.dirname, '..');
const scratch = join(packageRoot, '.vitest', 'examples');
let directory = '';
const start = process.cwd();
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pith-examples-'));
  mkdirSync(scratch, { recursive: true });
  process.chdir(directory);
});
afterEach(() => {
  process.chdir(start);
  rmSync(directory, { recursive: true, force: true });
});

/** Runs the TypeScript blocks of a guide as one module; what it would print is computed and dropped. */
async function run(name: string, path: string): Promise<void> {
  const blocks = [...readFileSync(join(packageRoot, path), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)];
  expect(blocks.length).toBeGreaterThan(0);
  const code = blocks
    .map((match) => match[1]!)
    .join('\n')
    .replaceAll('console.log(', 'await Promise.all([');
  const closed = code.replaceAll(/(await Promise\.all\(\[.*)\);$/gm, '$1]);');
  const file = join(scratch, `${name}.ts`);
  writeFileSync(file, closed);
  await import(/* @vite-ignore */ file);
}

const dense = (name: string, rows: number, columns: number): WeightTensor =>
  denseWeight({ name, dtype: 'f32', shape: [rows, columns], source: memoryBytes(new Uint8Array(4 * rows * columns)) });

it('runs the readme', async () => {
  await run('readme', 'README.md');
  expect((await openCheckpoint('./tiny')).tensors.size).toBe(1);
});

it('runs the guide of safetensors', async () => {
  await saveCheckpoint('./model', { configText: '{}', weights: [dense('model.embed_tokens.weight', 101, 4)] });
  writeFileSync('model.safetensors', readFileSync('model/model.safetensors'));
  await run('safetensors', '../../docs/formats/safetensors.md');
  expect((await openCheckpoint('./small')).tensors.size).toBe(1);
});

it('runs the guide of compressed-tensors', async () => {
  const scheme = {
    kind: 'int',
    bits: 4,
    symmetric: true,
    granularity: { kind: 'channel' },
    scaleDType: 'f32',
  } as const;
  const block = { codes: new Int8Array(32 * 8), scales: new Float32Array(32).fill(1) };
  const weight = quantizedWeight({
    name: 'model.layers.0.mlp.up_proj.weight',
    shape: [32, 8],
    scheme,
    read: memoryBlock(block, scheme, 32, 8),
  });
  await saveCheckpoint('./small', { configText: '{}', weights: [weight], ignore: ['lm_head'] });
  await run('compressed-tensors', '../../docs/formats/compressed-tensors.md');
  for (const name of ['config.json', 'model.safetensors']) {
    expect(readFileSync(`copy/${name}`).equals(readFileSync(`small/${name}`)), name).toBe(true);
  }
});
