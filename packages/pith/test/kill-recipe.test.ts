// SIGKILL at random moments of a recipe whose stages are calibrated: starting again ends with the bytes of a calm run.
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fileHashes } from '../src/testing/files.fixture.ts';
import { writeSyntheticModel } from '../src/testing/synthetic-model.fixture.ts';
import { pith, startPith } from './built.ts';

const KILLS = 6;
const SEED = 20261123;

let root: string;
let command: readonly string[];
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-kill-recipe-'));
  const model = join(root, 'model');
  writeSyntheticModel(model, { layers: 4, hidden: 64, feedForward: 96, vocabulary: 64 });
  const ids = Array.from({ length: 2000 }, (_, i) => (i * 37 + ((i * i) % 11)) % 64);
  writeFileSync(join(root, 'ids.json'), JSON.stringify(ids));
  const recipe = join(root, 'recipe.yaml');
  writeFileSync(
    recipe,
    [
      'version: 1',
      'calibration: { text: ids.json, samples: 32, context: 32 }',
      'stages:',
      '  - prune: { method: structure, layers: 1 }',
      '  - factorize: { method: whitened-svd, ratio: 0.2 }',
      '  - quantize: { method: gptq, scheme: w4 }',
    ].join('\n'),
  );
  command = ['compress', model, '-r', recipe, '--quiet', '--json'];
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

it(`gives the same bytes after ${KILLS} kills at random moments`, { timeout: 240_000 }, async () => {
  const calm = join(root, 'calm');
  const begun = performance.now();
  const first = await pith(...command, '-o', calm);
  expect(first.status, first.stderr).toBe(0);
  let longest = performance.now() - begun;
  const expected = fileHashes(calm);

  let state = SEED;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const output = join(root, 'out');
  let killed = 0;
  for (let tries = 0; killed < KILLS; tries++) {
    expect(tries, 'runs that end before they can be killed').toBeLessThan(10 * KILLS);
    const { child, ended } = startPith([...command, '-o', output]);
    await Promise.race([ended, wait(longest * (0.4 + 0.6 * random()))]);
    child.kill('SIGKILL');
    const { status, signal, stdout, stderr } = await ended;
    if (signal !== 'SIGKILL') expect(status, stdout + stderr).toBe(0);
    if (!existsSync(output)) {
      killed++;
      continue;
    }
    expect(fileHashes(output)).toEqual(expected);
    rmSync(output, { recursive: true });
    rmSync(`${output}.pith-partial`, { recursive: true, force: true });
    longest *= 0.9;
  }
  const last = await pith(...command, '-o', output);
  expect(last.status, last.stderr).toBe(0);
  expect(fileHashes(output)).toEqual(expected);
  expect((await pith('verify', output)).status).toBe(0);
  expect(readdirSync(root).sort()).toEqual(['calm', 'ids.json', 'model', 'out', 'recipe.yaml']);
});
