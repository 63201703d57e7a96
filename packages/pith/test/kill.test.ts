// SIGKILL at random moments: whatever the moment, starting again ends with the bytes of an undisturbed run.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fileHashes } from '../src/testing/files.fixture.ts';
import { writeSyntheticModel } from '../src/testing/synthetic-model.fixture.ts';
import { pith, startPith } from './built.ts';

const KILLS = 24;
const SEED = 20261123;
const FLAGS = [
  '--scheme',
  'w4g64',
  '--range',
  'mse:candidates=60,smallest=0.2',
  '--shard-size',
  '1MB',
  '--json',
  '--quiet',
];

let root: string;
let model: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-kill-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 3 });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

it(`gives the same bytes after ${KILLS} kills at random moments`, { timeout: 240_000 }, async () => {
  const calm = join(root, 'calm');
  const begun = performance.now();
  expect((await pith('quantize', model, '-o', calm, ...FLAGS)).status).toBe(0);
  const duration = performance.now() - begun;
  const expected = fileHashes(calm);

  let state = SEED;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const output = join(root, 'out');
  let killed = 0;
  let longest = duration;
  for (let tries = 0; killed < KILLS; tries++) {
    expect(tries, 'runs that end before they can be killed').toBeLessThan(10 * KILLS);
    const { child, ended } = startPith(['quantize', model, '-o', output, ...FLAGS]);
    // Loading takes the first part of a run, where there is nothing to break.
    await Promise.race([ended, wait(longest * (0.3 + 0.8 * random()))]);
    child.kill('SIGKILL');
    const { status, signal, stdout, stderr } = await ended;
    if (signal !== 'SIGKILL') expect(status, stdout + stderr).toBe(0);
    if (!existsSync(output)) {
      killed++;
      continue;
    }
    // The final name is there only with everything in it. The machine got faster, or less was left to do: kill sooner.
    expect(fileHashes(output)).toEqual(expected);
    rmSync(output, { recursive: true });
    rmSync(`${output}.pith-partial`, { recursive: true, force: true });
    longest *= 0.9;
  }
  const last = await pith('quantize', model, '-o', output, ...FLAGS);
  expect(last).toMatchObject({ status: 0 });
  expect(fileHashes(output)).toEqual(expected);
  expect((await pith('verify', output)).status).toBe(0);
  expect(readdirSync(root).sort()).toEqual(['calm', 'model', 'out']);
});
