// SIGKILL at random moments of runs whose stages are calibrated, of a recipe and of scales for keys and values: starting again ends with the
// bytes of a calm run.
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fileHashes } from '../src/testing/files.fixture.ts';
import { writeSyntheticModel } from '../src/testing/synthetic-model.fixture.ts';
import { pith, startPith } from './built.ts';

/** Kills of each command. */
const KILLS = { recipe: 6, 'keys and values': 3 } as const;
const SEED = 20261123;

let root: string;
let commands: Record<keyof typeof KILLS, readonly string[]>;
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
  const calibration = ['--calibration', join(root, 'ids.json'), '--samples', '48', '--context', '32'];
  commands = {
    recipe: ['compress', model, '-r', recipe, '--quiet', '--json'],
    'keys and values': [
      'quantize',
      model,
      '--method',
      'kv-cache',
      '--scheme',
      'fp8-head',
      ...calibration,
      '--quiet',
      '--json',
    ],
  };
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

it.each(Object.entries(KILLS))(
  '%s: the same bytes after %d kills at random moments',
  { timeout: 240_000 },
  async (name, kills) => {
    const command = commands[name as keyof typeof KILLS];
    const calm = join(root, `calm ${name}`);
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
    const output = join(root, `out ${name}`);
    let killed = 0;
    for (let tries = 0; killed < kills; tries++) {
      expect(tries, 'runs that end before they can be killed').toBeLessThan(10 * kills);
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
    rmSync(calm, { recursive: true });
    rmSync(output, { recursive: true });
    expect(readdirSync(root).sort()).toEqual(['ids.json', 'model', 'recipe.yaml']);
  },
);
