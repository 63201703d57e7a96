import { startHub, type HubServer } from '@pith-tooling/vitest/hub-server';
import { isPithError, type ProgressEvent } from '@pith/tensor-core';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { hubModel, NEEDED, noise, shard, SHARD_VALUES } from '../../testing/hub-model.fixture.ts';
import { openCheckpointFrom } from '../../huggingface/checkpoint.ts';
import { parseHubId } from '../../hub/hub-id.ts';
import { openCheckpoint } from '../open-checkpoint.ts';
import { acquireLock } from '../lock.ts';
import { openHubModel, type HubModel, type OpenHubModelOptions } from './open-hub-model.ts';
import type { HubSettings } from './hub-settings.ts';

const ID = 'org/model';
const FIRST = 'model-00001-of-00002.safetensors';
const SECOND = 'model-00002-of-00002.safetensors';

let hub: HubServer;
let cacheDirectory: string;
let files: Record<string, Uint8Array | string>;

const made = hubModel();
beforeEach(async () => {
  cacheDirectory = mkdtempSync(join(tmpdir(), 'pith-hub-'));
  files = made;
  hub = await startHub({ repositories: { [ID]: { files } } });
});
afterEach(async () => {
  await hub.close();
  rmSync(cacheDirectory, { recursive: true });
});

const settings = (more: Partial<HubSettings> = {}): HubSettings => ({
  endpoint: hub.endpoint,
  cacheDirectory,
  offline: false,
  ...more,
});
function open(
  name = ID,
  options: Partial<OpenHubModelOptions> = {},
  more: Partial<HubSettings> = {},
): Promise<HubModel> {
  return openHubModel(parseHubId(name)!, settings(more), { need: 'files', attempts: 3, waitMs: 1, ...options });
}
async function failure(
  run: Promise<unknown>,
): Promise<{ code: string; message: string; details: Record<string, unknown> }> {
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!isPithError(error)) throw new Error(`a PithError was expected, got ${String(error)}`, { cause: error });
  return error;
}
const folder = (): string => join(cacheDirectory, 'models--org--model');
const blobOf = (path: string): string =>
  join(folder(), 'blobs', createHash('sha256').update(files[path]!).digest('hex'));
/** Compared at once: an assertion by element takes long for so many. */
function expectContent(model: HubModel, path: string): void {
  expect(readFileSync(join(model.path!, path)).equals(Buffer.from(files[path]!)), path).toBe(true);
}
const sizeOf = (path: string): number => Buffer.byteLength(files[path]!);

describe('a download', () => {
  it('fetches what is needed into the standard layout, each byte once', async () => {
    const events: ProgressEvent[] = [];
    const model = await open(ID, { progress: (event) => events.push(event) });
    const commit = hub.commit(ID);
    expect(model).toEqual({ id: ID, commit, path: join(folder(), 'snapshots', commit) });
    expect(readdirSync(model.path!).sort()).toEqual(NEEDED);
    for (const name of NEEDED) {
      expectContent(model, name);
      // The index is read once more to know the shards.
      expect(hub.served(name)).toBe(sizeOf(name) * (name.endsWith('index.json') ? 2 : 1));
    }
    expect(hub.served('pytorch_model.bin') + hub.served('onnx/model.onnx') + hub.served('README.md')).toBe(0);
    expect(readFileSync(join(folder(), 'refs', 'main'), 'utf8')).toBe(commit);
    expect(readlinkSync(join(model.path!, FIRST))).toBe(
      `../../blobs/${createHash('sha256').update(files[FIRST]!).digest('hex')}`,
    );
    // git hash-object of the same text.
    const config = createHash('sha1')
      .update(`blob ${sizeOf('config.json')}\0${String(files['config.json'])}`)
      .digest('hex');
    expect(readlinkSync(join(model.path!, 'config.json'))).toBe(`../../blobs/${config}`);
    expect(readdirSync(join(folder(), 'blobs')).filter((name) => name.endsWith('.incomplete'))).toEqual([]);
    const total = NEEDED.reduce((sum, name) => sum + sizeOf(name), 0);
    expect(events.at(-1)).toMatchObject({
      phase: 'download org/model',
      unit: 'byte',
      done: total,
      total,
      bytesDone: total,
    });
    const { tensors, close } = await openCheckpoint(model.path!);
    await close();
    expect([...tensors.keys()]).toEqual(['a', 'b']);
  });

  it('of what the cache holds asks for no content again, and of a commit nothing at all', async () => {
    const { commit } = await open();
    hub.forget();
    await open();
    expect(hub.servedInAll()).toBe(sizeOf('model.safetensors.index.json'));
    hub.forget();
    await open(`${ID}@${commit}`);
    expect(hub.requests).toEqual([]);
  });

  it('follows the pages of a listing', async () => {
    hub.setPageSize(2);
    expect(readdirSync((await open()).path!).sort()).toEqual(NEEDED);
  });

  it('links a content that another revision has brought', async () => {
    await open();
    hub.files(ID).set('config.json', Buffer.from('{"model_type":"other"}'));
    hub.forget();
    const model = await open();
    expect(hub.served('config.json')).toBe(22);
    expect(hub.served(FIRST)).toBe(0);
    expectContent(model, FIRST);
  });

  it('continues half a file by a range', async () => {
    const half = 70_001;
    mkdirSync(join(folder(), 'blobs'), { recursive: true });
    writeFileSync(`${blobOf(FIRST)}.incomplete`, (files[FIRST] as Uint8Array).subarray(0, half));
    const model = await open();
    expect(hub.served(FIRST)).toBe(sizeOf(FIRST) - half);
    expect(hub.requests.filter(({ range }) => range === `bytes=${half}-${sizeOf(FIRST) - 1}`).length).toBe(2);
    expectContent(model, FIRST);
  });

  it('continues after connections that break, without asking for a byte twice', async () => {
    hub.faults.push({ path: FIRST, cutAfter: 70_000, times: 3 });
    const model = await open();
    expectContent(model, FIRST);
    // What was in flight when the connection broke may be lost, no more.
    expect(hub.served(FIRST)).toBeLessThan(sizeOf(FIRST) + 210_000);
    const starts = hub.requests.flatMap(({ host, range }) => (host === 'storage' && range !== null ? [range] : []));
    expect(starts.length).toBeGreaterThanOrEqual(1);
  });

  it('gives up when nothing comes, keeps what it has, and goes on from there', async () => {
    hub.faults.push({ path: FIRST, cutAfter: 70_000, times: 1 }, { path: FIRST, cutAfter: 0, times: 3 });
    expect(await failure(open())).toMatchObject({
      code: 'HUB_UNREACHABLE',
      message: expect.stringMatching(/run again to go on/),
    });
    const kept = statSync(`${blobOf(FIRST)}.incomplete`).size;
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThanOrEqual(70_000);
    expect(existsSync(join(folder(), 'refs', 'main'))).toBe(false);
    hub.forget();
    const model = await open();
    expect(hub.served(FIRST)).toBe(sizeOf(FIRST) - kept);
    expectContent(model, FIRST);
  });

  it('stops when told to, keeping what it has', async () => {
    const stop = new AbortController();
    const run = open(ID, { signal: stop.signal, progress: ({ bytesDone }) => bytesDone! > 100_000 && stop.abort() });
    expect(await failure(run)).toMatchObject({ code: 'STOPPED', kind: 'stopped' });
    hub.forget();
    await open();
    expect(hub.servedInAll()).toBeLessThan(2 * SHARD_VALUES * 2);
  });

  it('throws away kept bytes that are wrong and fetches them once more', async () => {
    mkdirSync(join(folder(), 'blobs'), { recursive: true });
    writeFileSync(`${blobOf(FIRST)}.incomplete`, noise(5000, 'another program'));
    writeFileSync(`${blobOf(SECOND)}.incomplete`, noise(sizeOf(SECOND) + 1, 'too long'));
    const model = await open();
    expectContent(model, FIRST);
    expectContent(model, SECOND);
    expect(hub.served(FIRST)).toBe(2 * sizeOf(FIRST) - 5000);
    expect(hub.served(SECOND)).toBe(sizeOf(SECOND));
  });

  it('goes on where the server knows no ranges', async () => {
    mkdirSync(join(folder(), 'blobs'), { recursive: true });
    writeFileSync(`${blobOf(FIRST)}.incomplete`, (files[FIRST] as Uint8Array).subarray(0, 70_000));
    hub.faults.push({ path: FIRST, ignoreRange: true });
    expectContent(await open(), FIRST);
  });

  it('waits for another process and takes what that has fetched', async () => {
    const place = join(cacheDirectory, '.locks', 'models--org--model', 'pith');
    mkdirSync(place, { recursive: true });
    const other = await acquireLock(place);
    const phases = new Set<string>();
    const run = open(ID, { progress: ({ phase }) => phases.add(phase) });
    await vi.waitFor(() => expect([...phases]).toEqual(['wait for another download of the same model']), 30_000);
    expect(hub.served(FIRST)).toBe(0);
    await other.release();
    await run;
    expect(readdirSync(place)).toEqual([]);
    hub.forget();
    const [one, two] = await Promise.all([open(), open()]);
    expect(one).toEqual(two);
  });

  it('of two at once fetches every content once', async () => {
    await Promise.all([open(), open()]);
    expect(hub.served(FIRST)).toBe(sizeOf(FIRST));
    expect(hub.served(SECOND)).toBe(sizeOf(SECOND));
  });

  it('refuses before it begins when the disk has no room', async () => {
    await hub.close();
    hub = await startHub({ repositories: { [ID]: { files } } });
    // A listing may claim more than any disk has.
    const oid = '0'.repeat(64);
    const body = JSON.stringify([
      { type: 'file', path: 'config.json', size: 2, oid: 'a'.repeat(40) },
      {
        type: 'file',
        path: 'model.safetensors',
        size: 2 ** 43,
        oid: 'b'.repeat(40),
        lfs: { oid, size: 2 ** 43, pointerSize: 1 },
      },
    ]);
    hub.faults.push({ route: /\/tree\//, status: 200, body });
    expect(await failure(open())).toMatchObject({
      code: 'HUB_DISK_FULL',
      message: expect.stringContaining('HF_HUB_CACHE'),
      details: { needed: 2 ** 43 + 2 },
    });
    expect(hub.servedInAll()).toBe(0);
  });
});

describe('what a server does wrong', () => {
  it.each([
    ['a wrong hash', { corrupt: true }, 'HUB_HASH_WRONG'],
    ['a length that is too long', { lieBy: 5 }, 'HUB_LENGTH_WRONG'],
    ['a length that is too short', { lieBy: -5 }, 'HUB_LENGTH_WRONG'],
    ['more bytes than listed', { extraBytes: 3 }, 'HUB_LENGTH_WRONG'],
    ['a refusal of a file', { status: 403 }, 'HUB_FORBIDDEN'],
    ['a failure that stays', { status: 503 }, 'HUB_UNAVAILABLE'],
    ['a limit that stays', { status: 429 }, 'HUB_RATE_LIMITED'],
  ])('is found: %s', async (_, fault, code) => {
    hub.faults.push({ path: FIRST, ...fault });
    const error = await failure(open());
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/^download org\/model\/model-00001-of-00002\.safetensors: /);
    expect(existsSync(blobOf(FIRST))).toBe(false);
  });

  it('a resumed part from the wrong place is not taken', async () => {
    mkdirSync(join(folder(), 'blobs'), { recursive: true });
    writeFileSync(`${blobOf(FIRST)}.incomplete`, (files[FIRST] as Uint8Array).subarray(0, 1000));
    hub.faults.push({ path: FIRST, shiftBy: -8 });
    expect(await failure(open())).toMatchObject({ code: 'HUB_LENGTH_WRONG' });
    hub.faults[0] = { path: FIRST, lieBy: 8 };
    expect(await failure(open())).toMatchObject({ code: 'HUB_LENGTH_WRONG' });
  });

  it('is waited for where it passes: 429 with Retry-After, 503, a body without a length', async () => {
    hub.faults.push(
      { path: FIRST, status: 429, headers: { 'retry-after': '0.05' }, times: 1 },
      { path: FIRST, status: 503, times: 1 },
      { path: FIRST, noLength: true, times: 1 },
      {
        route: /^\/api\/models\/org\/model\/revision/,
        status: 429,
        headers: { 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' },
        times: 1,
      },
    );
    expectContent(await open(), FIRST);
  });

  const entry = (more: object): object => ({
    type: 'file',
    path: 'config.json',
    size: 2,
    oid: 'a'.repeat(40),
    ...more,
  });
  it.each([
    ['a name with parts that lead out', [entry({ path: '../../evil' })], 'HUB_FILE_NAME_INVALID'],
    ['a name that leads out further down', [entry({ path: 'a/../../evil' })], 'HUB_FILE_NAME_INVALID'],
    ['an absolute name', [entry({ path: '/etc/passwd' })], 'HUB_FILE_NAME_INVALID'],
    ['a name for Windows', [entry({ path: 'C:\\evil' })], 'HUB_FILE_NAME_INVALID'],
    ['a name with a zero byte', [entry({ path: 'a\u0000b' })], 'HUB_FILE_NAME_INVALID'],
    ['a name without end', [entry({ path: 'a/'.repeat(2000) + 'b' })], 'HUB_FILE_NAME_INVALID'],
    ['no name', [entry({ path: 7 })], 'HUB_LISTING_INVALID'],
    ['a name twice', [entry({}), entry({})], 'HUB_LISTING_INVALID'],
    ['a negative size', [entry({ size: -1 })], 'HUB_LISTING_INVALID'],
    ['a giant size', [entry({ size: 1e300 })], 'HUB_LISTING_INVALID'],
    ['a size in words', [entry({ size: 'big' })], 'HUB_LISTING_INVALID'],
    ['a hash that is a path', [entry({ oid: '../../../evil' })], 'HUB_LISTING_INVALID'],
    ['a large file without its hash', [entry({ lfs: { size: 3 } })], 'HUB_LISTING_INVALID'],
    ['no list', { error: 'x' }, 'HUB_LISTING_INVALID'],
    ['entries that are none', [null], 'HUB_LISTING_INVALID'],
  ])('a listing with %s is refused', async (_, body, code) => {
    hub.faults.push({ route: /\/tree\//, status: 200, body: JSON.stringify(body) });
    expect(await failure(open())).toMatchObject({ code, message: expect.stringMatching(/^open org\/model: /) });
    expect(existsSync(join(cacheDirectory, 'evil'))).toBe(false);
  });

  it('a commit that is a path is refused', async () => {
    hub.faults.push({ route: /\/revision\//, status: 200, body: JSON.stringify({ id: ID, sha: '../../x' }) });
    expect(await failure(open())).toMatchObject({ code: 'HUB_LISTING_INVALID' });
  });

  it('an answer that is no JSON, or has no end, is refused', async () => {
    hub.faults.push({ route: /\/revision\//, status: 200, body: '<html>', times: 1 });
    expect(await failure(open())).toMatchObject({ code: 'HUB_LISTING_INVALID' });
    hub.faults.push({ route: /\/revision\//, status: 200, body: `"${'x'.repeat(65 * 2 ** 20)}"`, times: 1 });
    expect(await failure(open())).toMatchObject({ code: 'HUB_ANSWER_TOO_LARGE' });
  });

  it('a listing that leads in a circle is refused', async () => {
    hub.faults.push({
      route: /\/tree\//,
      status: 200,
      headers: { link: `<${hub.endpoint}/api/models/org/model/tree/main?again>; rel="next"` },
      body: '[]',
    });
    expect(await failure(open())).toMatchObject({ code: 'HUB_TOO_MANY_FILES' });
  });

  it.each([
    ['repeats a tensor', { a: FIRST, b: FIRST }, 'CHECKPOINT_TENSOR_UNLISTED'],
    ['names a file elsewhere', { a: '../../model.safetensors' }, 'CHECKPOINT_INDEX_PATH'],
    ['names itself', { a: 'model.safetensors.index.json' }, 'CHECKPOINT_INDEX_INVALID'],
    [
      'names a shard that is not there',
      { a: FIRST, b: 'model-00003-of-00003.safetensors' },
      'CHECKPOINT_SHARD_MISSING',
    ],
  ])('an index that %s is refused', async (_, map, code) => {
    hub.files(ID).set('model.safetensors.index.json', Buffer.from(JSON.stringify({ weight_map: map })));
    if (code === 'CHECKPOINT_TENSOR_UNLISTED') hub.files(ID).set(FIRST, Buffer.from(shard('c', 64)));
    const run = open().then(({ path }) => openCheckpoint(path!));
    expect(await failure(run)).toMatchObject({ code });
  });
});

describe('access', () => {
  const token = 'hf_secret';
  it('sends the token to the hub and to no other host', async () => {
    await hub.close();
    hub = await startHub({ repositories: { [ID]: { files, private: true } }, token });
    expect(await failure(open())).toMatchObject({
      code: 'HUB_UNAUTHORIZED',
      message: expect.stringContaining('HF_TOKEN'),
    });
    expectContent(await open(ID, {}, { token }), FIRST);
    const sent = (host: string) =>
      new Set(hub.requests.filter((one) => one.host === host).map((one) => one.authorization));
    expect([...sent('hub')].sort()).toEqual([`Bearer ${token}`, null].sort());
    expect([...sent('storage')]).toEqual([null]);
  });

  it('says what to do about a gated model, a wrong token, a wrong name and a wrong revision', async () => {
    await hub.close();
    hub = await startHub({ repositories: { [ID]: { files, gated: true } }, token });
    expect(await failure(open())).toMatchObject({
      code: 'HUB_GATED',
      message: expect.stringContaining(`accept its terms at ${hub.endpoint}/org/model`),
    });
    const wrong = await failure(open(ID, {}, { token: 'hf_wrong' }));
    expect(wrong).toMatchObject({
      code: 'HUB_UNAUTHORIZED',
      message: expect.stringMatching(/does not accept the token/),
    });
    expect(JSON.stringify(wrong) + wrong.message).not.toContain('hf_wrong');
    expect(await failure(open('org/nothing', {}, { token }))).toMatchObject({ code: 'HUB_NOT_FOUND' });
    expect(await failure(open(`${ID}@v9`, {}, { token }))).toMatchObject({ code: 'HUB_REVISION_MISSING' });
    expect(await failure(open(ID, {}, { token: 'two words' }))).toMatchObject({ code: 'HUB_TOKEN_INVALID' });
    expect(await failure(open(ID, {}, { endpoint: 'hub' }))).toMatchObject({ code: 'HUB_ENDPOINT_INVALID' });
  });
});

describe('without the hub', () => {
  it('uses the cache alone when offline, and says what is missing', async () => {
    const offline = { offline: true };
    expect(await failure(open(ID, {}, offline))).toMatchObject({
      code: 'HUB_NOT_CACHED',
      message: expect.stringContaining('never seen'),
    });
    const { path } = await open();
    hub.forget();
    expect((await open(ID, {}, offline)).path).toBe(path);
    expect((await open(ID, { need: 'headers' }, offline)).path).toBe(path);
    rmSync(join(path!, SECOND));
    expect(await failure(open(ID, {}, offline))).toMatchObject({
      code: 'HUB_NOT_CACHED',
      details: { missing: [SECOND] },
    });
    rmSync(join(path!, 'config.json'));
    expect(await failure(open(ID, {}, offline))).toMatchObject({
      message: expect.stringContaining('config.json is missing'),
    });
    expect(hub.requests).toEqual([]);
  });

  it('uses the cache when the hub does not answer, and tells so', async () => {
    const { path, commit } = await open();
    hub.faults.push({ route: /./, status: 503 });
    const notices: string[] = [];
    expect((await open(ID, { notice: (text) => notices.push(text) })).path).toBe(path);
    expect(notices).toEqual([expect.stringContaining(`using commit ${commit.slice(0, 12)}`)]);
    expect(await failure(open(`${ID}@dev`))).toMatchObject({ code: 'HUB_UNAVAILABLE' });
  });
});

describe('over ranges', () => {
  it('reads headers alone and writes nothing', async () => {
    const { store, path, commit } = await open(ID, { need: 'headers' });
    expect(path).toBeUndefined();
    expect(commit).toBe(hub.commit(ID));
    const { tensors, config, close } = await openCheckpointFrom(store!);
    await close();
    expect([...tensors.values()].map(({ name, byteLength }) => [name, byteLength])).toEqual([
      ['a', 2 * SHARD_VALUES],
      ['b', 2 * SHARD_VALUES],
    ]);
    expect(config).toMatchObject({ model_type: 'nothing' });
    expect(hub.served(FIRST)).toBe(16 * 1024);
    expect(hub.served(SECOND)).toBe(16 * 1024);
    expect(hub.servedInAll()).toBeLessThan(2 * 16 * 1024 + 2000);
    expect(readdirSync(cacheDirectory)).toEqual([]);
  });

  it('reads values where they are asked for', async () => {
    const { store } = await open(ID, { need: 'headers' });
    const { tensors } = await openCheckpointFrom(store!);
    const { source } = tensors.get('a')!;
    const data = (files[FIRST] as Uint8Array).subarray(sizeOf(FIRST) - 2 * SHARD_VALUES);
    for (const [offset, length] of [
      [0, 10],
      [16_000, 5000],
      [2 * SHARD_VALUES - 7, 7],
    ] as const) {
      expect(await source.read(offset, length)).toEqual(new Uint8Array(data.subarray(offset, offset + length)));
    }
    await expect(source.read(2 * SHARD_VALUES, 1)).rejects.toMatchObject({ code: 'BYTES_OUT_OF_RANGE' });
  });

  it.each([
    ['ignores ranges', { ignoreRange: true }, 'HUB_NO_RANGES'],
    ['answers from the wrong place', { shiftBy: 4 }, 'HUB_LENGTH_WRONG'],
    ['lies about the length', { lieBy: 4 }, 'HUB_LENGTH_WRONG'],
  ])('refuses a server that %s', async (_, fault, code) => {
    hub.faults.push({ path: FIRST, ...fault });
    const { store } = await open(ID, { need: 'headers' });
    expect(await failure(openCheckpointFrom(store!))).toMatchObject({ code });
    expect(hub.served(FIRST)).toBeLessThanOrEqual(sizeOf(FIRST));
  });

  it('uses the cache where that holds the model', async () => {
    const { path } = await open();
    expect((await open(ID, { need: 'headers' })).path).toBe(path);
  });
});

describe('GGUF files', () => {
  const GGUF = 'org/gguf';
  beforeEach(async () => {
    await hub.close();
    const parts = (name: string) => ({
      [`${name}-00001-of-00002.gguf`]: noise(2000, '1'),
      [`${name}-00002-of-00002.gguf`]: noise(2000, '2'),
    });
    hub = await startHub({
      repositories: {
        [ID]: { files },
        [GGUF]: {
          files: {
            'README.md': '',
            'm-Q4_K_M.gguf': noise(3000, 'q4'),
            'm-IQ4_XS.gguf': noise(3000, 'iq'),
            'm-Q4_K_S.gguf': noise(3000, 'q4s'),
            'mmproj-f16.gguf': noise(3000, 'mm'),
            ...parts('big/m-Q8_0'),
            'torn/m-F16-00001-of-00002.gguf': noise(3000, 'torn'),
          },
        },
        'org/one': { files: { 'one.gguf': noise(3000, 'one') } },
        'org/none': { files: { 'README.md': '', 'pytorch_model.bin': 'x', 'config.json': '{}' } },
        'org/empty': { files: { 'README.md': '' } },
      },
    });
  });

  it('fetches the one that is named, by its name or its type', async () => {
    for (const name of ['m-Q4_K_M.gguf', 'Q4_K_M', 'q4_k_m']) {
      expect((await open(`${GGUF}:${name}`)).path).toMatch(/snapshots\/[0-9a-f]{40}\/m-Q4_K_M\.gguf$/);
    }
    expect(hub.served('m-Q4_K_M.gguf')).toBe(3000);
    expect(hub.served('m-Q4_K_S.gguf')).toBe(0);
    expect((await open('org/one')).path).toMatch(/one\.gguf$/);
    const split = await open(`${GGUF}:Q8_0`);
    expect(split.path).toMatch(/big\/m-Q8_0-00001-of-00002\.gguf$/);
    expect(existsSync(split.path!.replace('00001-of', '00002-of'))).toBe(true);
    expect((await open(`${GGUF}:Q8_0`, {}, { offline: true })).path).toBe(split.path);
  });

  it.each([
    [GGUF, 'HUB_FILE_AMBIGUOUS', 'as org/gguf:Q4_K_M'],
    [`${GGUF}:Q5_K_M`, 'HUB_FILE_MISSING', 'm-IQ4_XS.gguf'],
    [`${GGUF}:Q4_K`, 'HUB_FILE_MISSING', 'it has'],
    [`${GGUF}:F16`, 'HUB_FILE_MISSING', '2 parts'],
    [`${GGUF}:README.md`, 'HUB_FILE_MISSING', 'must have the GGUF file'],
    ['org/none', 'CHECKPOINT_NO_WEIGHTS', 'pickle'],
    ['org/empty', 'CHECKPOINT_NO_CONFIG', 'config.json'],
  ])('says of %s what is wrong', async (name, code, text) => {
    expect(await failure(open(name))).toMatchObject({ code, message: expect.stringContaining(text) });
  });
});
