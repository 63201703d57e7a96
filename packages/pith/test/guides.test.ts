// The TypeScript examples of the readme and the guides run as they stand, in a directory that has what they speak of.
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readReceipt } from '../src/receipt/receipt.ts';
import { parseRecipe } from '../src/recipe/read-recipe.ts';
import { quantize } from '../src/run/quantize.ts';
import { writeSyntheticModel } from '../src/testing/synthetic-model.fixture.ts';

const packageRoot = join(import.meta.dirname, '..');
const scratch = join(packageRoot, '.vitest', 'guides');
const start = process.cwd();
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pith-guides-'));
  mkdirSync(scratch, { recursive: true });
  process.chdir(directory);
});
afterEach(() => {
  process.chdir(start);
  rmSync(directory, { recursive: true, force: true });
});

function blocks(path: string, language: string): string[] {
  const fence = new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g');
  const found = [...readFileSync(join(packageRoot, path), 'utf8').matchAll(fence)].map((match) => match[1]!);
  expect(found.length).toBeGreaterThan(0);
  return found;
}

describe.skipIf(!hasShared)('examples', () => {
  it.each(['README.md', '../../docs/getting-started.md'])('of %s run', async (path) => {
    cpSync(shared('models/docs6m'), 'model', { recursive: true });
    writeFileSync('text.txt', readFileSync(shared('data/docs-eval.txt')).subarray(0, 6000));
    // The model of the example has 256 positions; what the example prints is dropped.
    const code = blocks(path, 'ts')
      .join('\n')
      .replaceAll('context: 512', 'context: 256')
      .replace("data: 'text.txt', reference", "data: 'text.txt', context: 256, reference")
      .replaceAll('console.log(', 'String(');
    const file = join(scratch, `${path.replaceAll(/\W/g, '-')}.ts`);
    writeFileSync(file, code);
    await import(/* @vite-ignore */ file);
    expect((await readReceipt('small')).options).toMatchObject({ scheme: 'w4g128' });
  });
});

it('the guide to receipts says how to check a hash by hand', async () => {
  const [code] = blocks('../../docs/receipts.md', 'js');
  const body = code!.replace(/^import .*\n/, '');
  const treeHash = new Function('createHash', `${body}; return treeHash;`)(createHash) as (
    bytes: Uint8Array,
    leafBytes: number,
  ) => string;
  writeSyntheticModel('model', { layers: 1, hidden: 64, feedForward: 128 });
  await quantize('model', { output: 'small', scheme: 'w4g32' });
  const { output } = await readReceipt('small');
  const file = openSync('small/model.safetensors', 'r');
  const length = Buffer.alloc(8);
  readSync(file, length, 0, 8, 0);
  const head = 8 + Number(length.readBigUInt64LE());
  const text = Buffer.alloc(head - 8);
  readSync(file, text, 0, head - 8, 8);
  const header = JSON.parse(text.toString()) as Record<string, { data_offsets: [number, number] }>;
  for (const { name, bytes, leafBytes, sha256 } of output.tensors) {
    const stored = Buffer.alloc(bytes);
    readSync(file, stored, 0, bytes, head + header[name]!.data_offsets[0]);
    expect(treeHash(stored, leafBytes), name).toBe(sha256);
  }
});

it('the guide to the command line names every command, and every flag that is named exists', async () => {
  const { cli } = await import('../src/cli/cli-host.fixture.ts');
  const guide = readFileSync(join(packageRoot, '../../docs/cli.md'), 'utf8');
  const commands = [...(await cli('--help')).stdout.matchAll(/^ {2}([a-z]+) .*</gm)].map((match) => match[1]!);
  expect(commands.length).toBeGreaterThan(6);
  let help = '';
  for (const command of [...commands, 'doctor']) {
    expect(guide).toContain(`pith ${command}`);
    help += (await cli(command, '--help')).stdout;
  }
  for (const [flag] of guide.matchAll(/--[a-z][a-z-]+/g)) expect(help, flag).toContain(flag);
});

it('the recipes of the guide to recipes are recipes', () => {
  const texts = blocks('../../docs/recipes.md', 'yaml').filter((text) => text.includes('stages:'));
  expect(texts.length).toBeGreaterThan(2);
  for (const text of texts) {
    const recipe = text.includes('version:') ? text : `version: 1\n${text}`;
    expect(parseRecipe(recipe).stages.length, text).toBeGreaterThan(0);
  }
});
