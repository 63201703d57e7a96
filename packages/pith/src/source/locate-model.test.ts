import { startHub, type HubServer } from '@pith-tooling/vitest/hub-server';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { cli } from '../cli/cli-host.fixture.ts';
import { inspect } from '../inspect/inspect.ts';
import { plan } from '../plan/plan.ts';
import { exportModel, planExport } from '../export/export-model.ts';
import { quantize } from '../run/quantize.ts';
import { planStage } from '../run/stage-commands.ts';
import { readReceipt } from '../receipt/receipt.ts';
import { readRecipe } from '../recipe/read-recipe.ts';
import { planRecipe } from '../run/compress.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { hubOrigin } from './open-source.ts';
import { localModel } from './locate-model.ts';

const ID = 'org/tiny';
const WEIGHTS = [1, 2, 3, 4].map((part) => `model-0000${part}-of-00004.safetensors`);
/** Bytes that the first read of a file brings. */
const FIRST_READ = 16 * 1024;

let folder: string;
let source: string;
let hub: HubServer;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pith-locate-'));
  source = join(folder, 'source');
  writeSyntheticModel(source, { layers: 2, hidden: 64, feedForward: 128, vocabulary: 128, shardBytes: 65_536 });
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(async () => {
  const files = Object.fromEntries(readdirSync(source).map((name) => [name, readFileSync(join(source, name))]));
  hub = await startHub({ repositories: { [ID]: { files: { ...files, 'pytorch_model.bin': 'no' } } } });
  vi.stubEnv('HF_ENDPOINT', hub.endpoint);
  vi.stubEnv('HF_HOME', join(folder, 'home'));
  for (const name of ['HF_HUB_CACHE', 'HF_TOKEN', 'HF_HUB_OFFLINE', 'HUGGING_FACE_HUB_TOKEN']) vi.stubEnv(name, '');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  rmSync(join(folder, 'home'), { recursive: true, force: true });
});

/** Bytes of the headers of the model's files. */
const headerBytes = (): number =>
  WEIGHTS.reduce((sum, name) => sum + 8 + Number(readFileSync(join(source, name)).readBigUInt64LE()), 0);
const weightBytes = (): number => WEIGHTS.reduce((sum, name) => sum + readFileSync(join(source, name)).byteLength, 0);
const servedWeights = (): number => WEIGHTS.reduce((sum, name) => sum + hub.served(name), 0);

describe('a hub id as a model', () => {
  it('is inspected by its headers: equal to the same files here, nothing on the disk', async () => {
    expect(readdirSync(source).filter((name) => name.endsWith('.safetensors'))).toEqual(WEIGHTS);
    const [remote, local] = [await inspect(ID), await inspect(source)];
    expect({ ...remote, files: [] }).toEqual({ ...local, files: [] });
    expect(remote.files.filter(({ name }) => name !== 'pytorch_model.bin')).toEqual(local.files);
    // A read ahead of 16 KiB for each file, and no file twice.
    expect(servedWeights()).toBe(4 * FIRST_READ);
    expect(headerBytes()).toBeLessThan(servedWeights());
    expect(servedWeights()).toBeLessThan(weightBytes() / 2);
    expect(readdirSync(folder)).toEqual(['source']);
  });

  it('is planned by its headers, each read once', async () => {
    const options = { scheme: 'w4g32' };
    const [remote, local] = [await plan(ID, options), await plan(source, options)];
    expect(remote).toEqual(local);
    expect(servedWeights()).toBe(4 * FIRST_READ);
    const recipe = { version: 1 as const, stages: [{ quantize: { method: 'rtn' as const, scheme: 'w8' } }] };
    expect((await planRecipe(ID, { recipe })).tensors).toEqual((await planRecipe(source, { recipe })).tensors);
    expect((await planExport(ID, { format: 'safetensors' })).bytesAfter).toBe(
      (await planExport(source, { format: 'safetensors' })).bytesAfter,
    );
    expect(servedWeights()).toBe(3 * 4 * FIRST_READ);
    expect(readdirSync(folder)).toEqual(['source']);
  });

  it('is fetched where its values are needed; the receipt says where it is from', async () => {
    const output = join(folder, 'out');
    const phases: string[] = [];
    await quantize(ID, { scheme: 'w4g32', output, progress: ({ phase }) => phases.push(phase) });
    expect(phases).toContain(`download ${ID}`);
    expect(servedWeights()).toBe(weightBytes());
    expect(hub.served('pytorch_model.bin')).toBe(0);
    const { source: read, output: made } = await readReceipt(output);
    expect(read.hub).toEqual({ id: ID, commit: hub.commit(ID) });
    await quantize(source, { scheme: 'w4g32', output: `${output}-local` });
    const local = await readReceipt(`${output}-local`);
    expect(local.output).toEqual(made);
    expect(local.source).toEqual({ ...read, hub: undefined });
    rmSync(output, { recursive: true });
    rmSync(`${output}-local`, { recursive: true });
  });

  it('gives way to a path that exists', async () => {
    vi.spyOn(process, 'cwd');
    const here = join(folder, 'org');
    mkdirSync(join(here, 'tiny'), { recursive: true });
    const before = process.cwd();
    process.chdir(folder);
    try {
      expect(await localModel(ID)).toBe(ID);
      await expect(inspect(ID)).rejects.toMatchObject({ code: 'CHECKPOINT_NO_CONFIG' });
    } finally {
      process.chdir(before);
      rmSync(here, { recursive: true });
    }
    expect(hub.requests).toEqual([]);
  });

  it('may be the teacher, a further one, and the student', async () => {
    const text = join(folder, 'ids.json');
    writeFileSync(text, JSON.stringify(Array.from({ length: 500 }, (_, i) => (i * 7) % 120)));
    const options = { method: 'offline', steps: 1, data: { text, context: 16 } };
    const further = { ...options, student: 'model', studentModel: ID, furtherTeachers: [ID] };
    const planned = await planStage('distill', ID, further);
    expect(planned.problems).toEqual([]);
    const local = { ...options, student: 'model', studentModel: source, furtherTeachers: [source] };
    expect(planned.tensors).toEqual((await planStage('distill', source, local)).tensors);
    // Each of the three by its headers.
    expect(servedWeights()).toBe(3 * 4 * FIRST_READ);
    rmSync(text);
  });

  it('may stand in a recipe, where a path counts from the recipe', async () => {
    const path = join(folder, 'recipe.yaml');
    writeFileSync(
      path,
      `version: 1\nmodels: { other: ${ID}, here: source, absent: ./no/such }\nstages:\n  - quantize: { method: rtn, scheme: w8 }\n`,
    );
    const { models } = await readRecipe(path);
    expect(models).toEqual({ other: ID, here: source, absent: join(folder, 'no/such') });
    rmSync(path);
  });
});

describe('a GGUF file of a hub', () => {
  const GGUF = 'org/gguf';
  const made = (name = ''): string => join(folder, 'gguf', name);
  beforeAll(async () => {
    const demo = fileURLToPath(new URL('../../../../examples/demo-model/checkpoint', import.meta.url));
    mkdirSync(made());
    await exportModel(demo, { format: 'gguf:f16', output: made('tiny.gguf') });
    await exportModel(demo, { format: 'gguf:f16', output: made('parts.gguf'), shardBytes: 3_000_000 });
  });
  afterAll(() => rmSync(made(), { recursive: true }));
  const parts = (): string[] => readdirSync(made()).filter((name) => /^parts-.*gguf$/.test(name));
  beforeEach(async () => {
    await hub.close();
    const bytes = (name: string): Uint8Array => readFileSync(made(name));
    const split = Object.fromEntries(parts().map((name) => [`split/${name}`, bytes(name)]));
    hub = await startHub({ repositories: { [GGUF]: { files: { 'tiny.gguf': bytes('tiny.gguf'), ...split } } } });
    vi.stubEnv('HF_ENDPOINT', hub.endpoint);
  });

  it('is inspected and planned by its header, nothing on the disk', async () => {
    const path = made('tiny.gguf');
    const size = readFileSync(path).byteLength;
    const [remote, local] = [await inspect(`${GGUF}:tiny.gguf`), await inspect(path)];
    expect(remote).toEqual(local);
    const served = hub.served('tiny.gguf');
    expect(served).toBeLessThan(size / 2);
    const options = { format: 'gguf:q8_0' };
    expect(await planExport(`${GGUF}:tiny.gguf`, options)).toEqual(await planExport(path, options));
    expect(hub.served('tiny.gguf')).toBe(2 * served);
    expect((await plan(`${GGUF}:tiny.gguf`, { scheme: 'w4g32' })).tensors).toEqual(
      (await plan(path, { scheme: 'w4g32' })).tensors,
    );
    expect(existsSync(join(folder, 'home'))).toBe(false);
  });

  it('in several files of a folder: each by its header', async () => {
    const remote = await inspect(`${GGUF}:parts`);
    expect(parts()).toHaveLength(2);
    const local = await inspect(made(parts()[0]));
    expect(remote.tensors.map(({ name, bytes }) => [name, bytes])).toEqual(
      local.tensors.map(({ name, bytes }) => [name, bytes]),
    );
    expect(hub.servedInAll()).toBeLessThan(remote.bytes);
  });
});

describe('on the command line', () => {
  it('inspects and says what was done other than asked for', async () => {
    const made = await cli('inspect', ID, '--json');
    expect(made).toMatchObject({ exitCode: 0, stderr: '' });
    expect(JSON.parse(made.stdout)).toMatchObject({ architecture: 'llama', supported: true });
    await localModel(ID);
    // The server is gone: what the cache holds is used.
    hub.faults.push({ route: /./, status: 404, headers: { 'x-error-code': 'RepoNotFound' } });
    expect(await cli('inspect', ID)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('HUB_NOT_FOUND') });
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await cli('inspect', ID)).toMatchObject({ exitCode: 0 });
  });

  it.each([
    [
      'org/none',
      'HUB_UNAUTHORIZED',
      /no file or directory has this name here, and there is no such public repository .*HF_TOKEN/,
    ],
    [`${ID}@v7`, 'HUB_REVISION_MISSING', /no such revision/],
    ['not-there', 'CHECKPOINT_NOT_FOUND', /must exist/],
    ['a/b/c', 'CHECKPOINT_NOT_FOUND', /must exist/],
  ])('says what is wrong with %s', async (name, code, text) => {
    const { exitCode, stdout } = await cli('inspect', name, '--json');
    expect(exitCode).toBe(2);
    expect(JSON.parse(stdout)).toEqual({
      error: expect.objectContaining({ code, message: expect.stringMatching(text) }),
    });
  });

  it('offline says what is missing', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const { exitCode, stderr } = await cli('generate', ID, '--prompt', 'x');
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/no file or directory .* and the cache at .* must hold the model .*HUB_NOT_CACHED/);
    expect(hub.requests).toEqual([]);
  });
});

it('knows a snapshot of the cache by its path', () => {
  const commit = 'ab'.repeat(20);
  expect(hubOrigin(`/c/models--org--a-b.c/snapshots/${commit}`)).toEqual({ id: 'org/a-b.c', commit });
  for (const path of ['/c/models--org--a/snapshots/main', `/c/models--org--a/blobs/${commit}`, '/c/model']) {
    expect(hubOrigin(path)).toBeUndefined();
  }
});
