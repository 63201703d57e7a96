// The built command line against a hub on this machine, as a user runs it: SIGKILL in the middle of a download, and
// two processes at once.
import { startHub, type HubServer } from '@pith-tooling/vitest/hub-server';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { writeSyntheticModel } from '../src/testing/synthetic-model.fixture.ts';
import { startPith, type Ended } from './built.ts';

const ID = 'org/tiny';
const WEIGHTS = 'model.safetensors';

let folder: string;
let home: string;
let files: Record<string, Uint8Array>;
let hub: HubServer;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pith-hub-cli-'));
  const source = join(folder, 'source');
  writeSyntheticModel(source, { layers: 2 });
  files = Object.fromEntries(readdirSync(source).map((name) => [name, readFileSync(join(source, name))]));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  hub = await startHub({ repositories: { [ID]: { files } } });
  home = mkdtempSync(join(folder, 'home-'));
});
afterEach(() => hub.close());

const run = (...args: string[]) =>
  startPith(args, { env: { PATH: process.env['PATH'], HF_ENDPOINT: hub.endpoint, HF_HOME: home } });
const quantize = (name: string) =>
  run('quantize', ID, '-o', join(home, name), '--scheme', 'w4g64', '--json', '--quiet');
const done = ({ status, stderr }: Ended): void => expect(status, stderr).toBe(0);
const size = (): number => files[WEIGHTS]!.length;
const blobs = (): string => join(home, 'hub', 'models--org--tiny', 'blobs');

it('inspects headers without a trace on the disk', async () => {
  const ended = await run('inspect', ID, '--json').ended;
  done(ended);
  expect(JSON.parse(ended.stdout)).toMatchObject({ architecture: 'llama', tensors: expect.any(Array) });
  expect(hub.served(WEIGHTS)).toBe(16 * 1024);
  expect(readdirSync(home)).toEqual([]);
});

it('continues after SIGKILL in the middle of a download', async () => {
  const half = 1_500_000;
  // The rest is held back, so that the process is killed while it waits for it.
  hub.faults.push({ path: WEIGHTS, stallAfter: half });
  const { child, ended } = quantize('out');
  const partial = (): number =>
    Math.max(
      0,
      ...readdirSync(blobs()).map((name) => (name.endsWith('.incomplete') ? statSync(join(blobs(), name)).size : 0)),
    );
  for (let tries = 0; hub.served(WEIGHTS) < half; tries++) {
    expect(tries, 'the download never began').toBeLessThan(600);
    await wait(50);
  }
  await wait(300);
  child.kill('SIGKILL');
  expect(await ended).toMatchObject({ signal: 'SIGKILL' });
  hub.faults.length = 0;
  const kept = partial();
  // What was gathered for the next write is lost, no more.
  expect(kept).toBeGreaterThan(half - 512 * 1024);
  hub.forget();
  done(await quantize('out').ended);
  expect(hub.served(WEIGHTS)).toBe(size() - kept);
  expect(readdirSync(blobs()).some((name) => name.endsWith('.incomplete'))).toBe(false);
  expect(readdirSync(join(home, 'hub', '.locks', 'models--org--tiny', 'pith'))).toEqual([]);
});

it('of two processes at once one fetches', async () => {
  const [one, two] = [quantize('a'), quantize('b')];
  done(await one.ended);
  done(await two.ended);
  expect(hub.served(WEIGHTS)).toBe(size());
});
