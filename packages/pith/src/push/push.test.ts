import { startHub, type HubServer } from '@pith-tooling/vitest/hub-server';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { cli } from '../cli/cli-host.fixture.ts';
import { exportModel } from '../export/export-model.ts';
import { quantize } from '../run/quantize.ts';
import { verify } from '../verify/verify.ts';
import { readReceipt } from '../receipt/receipt.ts';
import { localModel } from '../source/locate-model.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { modelCard } from './model-card.ts';
import { push } from './push.ts';

/** A model with a tokenizer. */
const demo = fileURLToPath(new URL('../../../../examples/demo-model/checkpoint', import.meta.url));
const BASE = 'maker/base';
const TOKEN = 'hf_write';

let folder: string;
let artefact: string;
let hub: HubServer;

const settings = (more: Readonly<Record<string, string>> = {}): void => {
  const all = {
    HF_ENDPOINT: hub.endpoint,
    HF_HOME: join(folder, 'home'),
    HF_TOKEN: TOKEN,
    HF_HUB_CACHE: '',
    HF_HUB_OFFLINE: '',
  };
  for (const [name, value] of Object.entries({ ...all, ...more })) vi.stubEnv(name, value);
};
const startWith = async (directory: string): Promise<void> => {
  const files = Object.fromEntries(readdirSync(directory).map((name) => [name, readFileSync(join(directory, name))]));
  const cardData = { license: 'other', license_name: 'maker-1', license_link: 'LICENSE' };
  hub = await startHub({ token: TOKEN, repositories: { [BASE]: { files, cardData } } });
  settings();
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pith-push-'));
  artefact = join(folder, 'small');
  const source = join(folder, 'source');
  writeSyntheticModel(source, { layers: 1, hidden: 64, feedForward: 128, vocabulary: 128 });
  await startWith(source);
  await quantize(BASE, { scheme: 'w4g32', output: artefact });
  await hub.close();
  vi.unstubAllEnvs();
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => startWith(join(folder, 'source')));
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
});

const fronted = (card: string): Record<string, unknown> => parse(card.split('---\n')[1]!) as Record<string, unknown>;

/** Files that the artefact's receipt lists. */
const readReceiptFiles = (): number =>
  (JSON.parse(readFileSync(join(artefact, 'pith-receipt.json'), 'utf8')) as { output: { files: unknown[] } }).output
    .files.length;

/** The last bit of a file changed. */
function flipped(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[copy.length - 1]! ^= 1;
  return copy;
}

describe('push', () => {
  it('uploads every file of the artefact and a card as one commit; what comes back verifies', async () => {
    const bytes: number[] = [];
    const result = await push(artefact, 'me/small', { progress: ({ bytesDone }) => bytes.push(bytesDone!) });
    expect(result).toMatchObject({
      created: true,
      revision: 'main',
      url: `${hub.endpoint}/me/small`,
      commit: hub.commit('me/small'),
    });
    const names = [...readdirSync(artefact), 'README.md'].sort();
    expect(result.files.map(({ path }) => path).sort()).toEqual(names);
    expect(hub.commits).toEqual([
      expect.objectContaining({ id: 'me/small', branch: 'main', summary: 'Upload of compressed-tensors by Pith' }),
    ]);
    const stored = hub.files('me/small');
    for (const name of readdirSync(artefact)) {
      expect(Buffer.from(stored.get(name)!).equals(readFileSync(join(artefact, name))), name).toBe(true);
    }
    expect(result.bytes).toBe([...stored.values()].reduce((sum, { length }) => sum + length, 0));
    // Large files go to the other host, without the token.
    const storage = hub.requests.filter(({ host, method }) => host === 'storage' && method === 'PUT');
    expect(storage.length).toBeGreaterThan(0);
    expect(storage.every(({ authorization }) => authorization === null)).toBe(true);
    // Again: nothing large is sent a second time.
    hub.forget();
    expect(await push(artefact, 'me/small')).toMatchObject({ created: false });
    expect(hub.requests.filter(({ host }) => host === 'storage')).toEqual([]);
    // A clone has a card beside what the receipt lists.
    const clone = join(folder, 'clone');
    cpSync(artefact, clone, { recursive: true });
    writeFileSync(join(clone, 'README.md'), result.card);
    writeFileSync(join(clone, '.gitattributes'), '');
    expect(await verify(clone)).toMatchObject({ ok: true });
    // And it is a model like any other.
    expect(await localModel('me/small')).toContain('models--me--small');
  });

  it('what was pushed is verified by its id: receipt and files are fetched, all else is named', async () => {
    await push(artefact, 'me/small');
    hub.forget();
    expect(await verify('me/small')).toMatchObject({ ok: true, problems: [], files: readReceiptFiles() });
    // Of it the cache is asked alone.
    settings({ HF_HUB_OFFLINE: '1' });
    hub.forget();
    expect(await verify('me/small')).toMatchObject({ ok: true });
    expect(hub.requests).toEqual([]);
    settings();
    const changed = new Map(hub.files('me/small'));
    changed.set('model.safetensors', flipped(changed.get('model.safetensors')!));
    changed.delete('generation_config.json');
    changed.set('other/extra.bin', Buffer.from('x'));
    await hub.close();
    hub = await startHub({ token: TOKEN, repositories: { 'me/small': { files: Object.fromEntries(changed) } } });
    settings();
    const found = await verify('me/small');
    expect(found.ok).toBe(false);
    expect(found.problems.map(({ kind, name }) => [kind, name])).toEqual(
      expect.arrayContaining([
        ['extra', 'other/extra.bin'],
        ['damaged', expect.any(String)],
      ]),
    );
    // What the receipt does not list is not fetched.
    expect(hub.served('other/extra.bin')).toBe(0);
    expect(await cli('verify', 'me/small')).toMatchObject({ exitCode: 2 });
  });

  it('a repository without a receipt is no artefact', async () => {
    await expect(verify(BASE)).rejects.toMatchObject({
      code: 'RECEIPT_MISSING',
      message: expect.stringContaining(`${BASE} has no pith-receipt.json`) as string,
    });
    expect(hub.servedInAll()).toBe(0);
  });

  it('files are verified by their receipts, one that is named of several', async () => {
    const made = join(folder, 'gguf');
    mkdirSync(made);
    for (const name of ['a-F16', 'b-BF16']) {
      await exportModel(demo, {
        format: name === 'a-F16' ? 'gguf:f16' : 'gguf:bf16',
        output: join(made, `${name}.gguf`),
      });
    }
    const files = Object.fromEntries(readdirSync(made).map((name) => [name, readFileSync(join(made, name))]));
    await hub.close();
    hub = await startHub({ token: TOKEN, repositories: { 'me/gguf': { files } } });
    settings();
    expect(await verify('me/gguf:a-F16')).toMatchObject({ ok: true, files: 1 });
    expect(hub.served('b-BF16.gguf')).toBe(0);
    await expect(verify('me/gguf')).rejects.toMatchObject({ code: 'HUB_FILE_AMBIGUOUS' });
    await expect(verify('me/gguf:Q4_0')).rejects.toMatchObject({ code: 'RECEIPT_MISSING' });
  });

  it('writes a card from the receipt', async () => {
    const { card, notices } = await push(artefact, 'me/small', { dryRun: true });
    expect(notices).toEqual([]);
    expect(fronted(card)).toEqual({
      license: 'other',
      license_name: 'maker-1',
      license_link: 'LICENSE',
      base_model: [BASE],
      base_model_relation: 'quantized',
      library_name: 'transformers',
      tags: ['compressed-tensors', 'quantized', 'pith'],
    });
    const { totals, source } = await readReceipt(artefact);
    expect(card).toContain(
      `[${BASE}](https://huggingface.co/${BASE}) at commit \`${source.hub!.commit}\`: quantized by rtn to \`w4g32\``,
    );
    expect(card).toContain(totals.bitsPerWeight.toPrecision(4).replace(/0+$/, ''));
    expect(card).toContain('vllm serve me/small');
    expect(card).toContain('Not measured');
    expect(card).toMatch(/## Numerical interventions\n\nNone\./);
    expect(hub.commits).toEqual([]);
    expect(hub.files('me/small').size).toBe(0);
  });

  it('makes a private repository and a branch, and takes message, base model and licence from the caller', async () => {
    const options = { private: true, revision: 'int4', message: 'Four bits', baseModel: 'a/b', license: 'mit' };
    const { card } = await push(artefact, 'me/secret', options);
    expect(hub.isPrivate('me/secret')).toBe(true);
    expect(hub.commits).toEqual([expect.objectContaining({ branch: 'int4', summary: 'Four bits' })]);
    expect(fronted(card)).toMatchObject({ license: 'mit', base_model: ['a/b'] });
    await push(artefact, 'me/secret', options);
    await push(artefact, 'me/open');
    await expect(push(artefact, 'me/open', { private: true })).rejects.toMatchObject({ code: 'HUB_REPOSITORY_PUBLIC' });
  });

  it('refuses an artefact that is not what its receipt says, before it asks the hub for anything', async () => {
    const damaged = join(folder, 'damaged');
    cpSync(artefact, damaged, { recursive: true });
    appendFileSync(join(damaged, 'config.json'), ' ');
    await expect(push(damaged, 'me/small')).rejects.toMatchObject({
      code: 'PUSH_DIFFERS',
      message: expect.stringContaining('config.json'),
    });
    await expect(push(join(folder, 'source'), 'me/small')).rejects.toMatchObject({ code: 'RECEIPT_MISSING' });
    expect(hub.requests).toEqual([]);
  });

  it.each([
    ['small', {}, 'HUB_ID_INVALID', {}],
    ['me/small', { revision: '../x' }, 'HUB_ID_INVALID', {}],
    ['me/small', { baseModel: 'x' }, 'HUB_ID_INVALID', {}],
    ['me/small', {}, 'HUB_OFFLINE', { HF_HUB_OFFLINE: '1' }],
    ['me/small', { baseModel: 'a/b', license: 'mit' }, 'HUB_TOKEN_MISSING', { HF_TOKEN: '' }],
    ['me/small', { license: 'mit' }, 'HUB_UNAUTHORIZED', { HF_TOKEN: 'hf_wrong' }],
  ])('refuses %s %o with %s', async (id, options, code, environment) => {
    settings(environment);
    await expect(push(artefact, id, options)).rejects.toMatchObject({ code });
    expect(hub.commits).toEqual([]);
  });

  it('goes on after refusals that pass, and commits nothing where storage fails', async () => {
    hub.faults.push({ route: /preupload/, status: 429, headers: { 'retry-after': '0' }, times: 1 });
    await push(artefact, 'me/small');
    hub.faults.push({ route: /objects\/batch/, status: 413 });
    await expect(push(artefact, 'me/other')).rejects.toMatchObject({ code: 'HUB_REFUSED' });
    expect(hub.commits.map(({ id }) => id)).toEqual(['me/small']);
  });

  it('says what is not known', async () => {
    hub.faults.push({ route: /models\/maker\/base/, status: 404, headers: { 'x-error-code': 'RepoNotFound' } });
    const { notices, card } = await push(artefact, 'me/small', { dryRun: true });
    expect(notices).toEqual([`the licence of ${BASE} could not be looked up (HUB_NOT_FOUND): name it with --license`]);
    expect(fronted(card)).not.toHaveProperty('license');
  });
});

it('a card tells quality, calibration and interventions, and lets nothing out of its place', async () => {
  const receipt = await readReceipt(artefact);
  const card = modelCard({
    id: 'me/small',
    file: 'x.gguf',
    receipt: {
      ...receipt,
      output: { ...receipt.output, format: 'gguf' },
      stages: [{ ...receipt.stages![0]!, kind: 'prune', method: 'wanda', config: { note: '```\n# evil' } }],
      calibration: {
        textSha256: '0'.repeat(64),
        textTokens: 9000,
        windows: 16,
        context: 512,
        choose: 'random',
        seed: 7,
      },
      interventions: [
        { stage: 'stage-1', code: 'DAMPING_RAISED', where: 'a|b\n# c', message: '<script>', details: {} },
      ],
      quality: {
        protocol: {
          tokenization: 'whole text',
          context: 512,
          bosTokenId: 1,
          stride: 511,
          predictedPerWindow: 511,
          tail: 'dropped',
          precision: 'f32',
          windows: 3,
        },
        textSha256: 'a'.repeat(64),
        tokens: 1533,
        before: { perplexity: 6.25, nll: 1.83 },
        after: { perplexity: 6.5, nll: 1.87, kl: 0.0123, klP99: 0.3, top1Agreement: 0.9 },
      },
    },
  });
  expect(fronted(card)).toEqual({ library_name: 'gguf', tags: ['gguf', 'llama.cpp', 'pruned', 'pith'] });
  expect(card).toContain('--hf-repo me/small --hf-file x.gguf');
  expect(card).toContain('| perplexity | 6.25000 | 6.50000 |');
  expect(card).toContain('mean 0.01230, 99th percentile 0.3000');
  expect(card).toContain('1533 tokens predicted in 3 windows of 512 positions, stride 511, BOS 1');
  expect(card).toContain(
    'Calibrated on 16 windows of 512 positions of a text of 9000 tokens (chosen at random by seed 7)',
  );
  expect(card).toContain('| `DAMPING_RAISED` | a\\|b # c | \\<script\\> |');
  expect(card).not.toMatch(/^# evil/m);
});

it('on the command line', async () => {
  const dry = await cli('push', artefact, 'me/small', '--dry-run');
  expect(dry).toMatchObject({ exitCode: 0 });
  expect(dry.stdout).toMatch(/model\.safetensors .*[\s\S]*base_model:[\s\S]*nothing was uploaded/);
  const made = await cli('push', artefact, 'me/small', '--json', '--quiet');
  expect(JSON.parse(made.stdout)).toMatchObject({
    repository: 'me/small',
    commit: hub.commit('me/small'),
    created: true,
  });
  settings({ HF_TOKEN: '' });
  expect(await cli('push', artefact, 'me/small', '--license', 'mit')).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('HF_TOKEN'),
  });
});
