import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readReceipt } from '../receipt/receipt.ts';
import { quantize } from '../run/quantize.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { verify } from './verify.ts';

let root: string;
let artefact: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'pith-verify-'));
  writeSyntheticModel(join(root, 'model'), { layers: 1, hidden: 64, feedForward: 128 });
  await quantize(join(root, 'model'), { output: join(root, 'good'), scheme: 'w4g32', shardBytes: 50_000 });
});
afterAll(() => rmSync(root, { recursive: true }));
beforeEach(() => {
  artefact = join(root, 'artefact');
  rmSync(artefact, { recursive: true, force: true });
  cpSync(join(root, 'good'), artefact, { recursive: true });
});

const shard = (): string => join(artefact, 'model-00001-of-00003.safetensors');
const problemsOf = async (): Promise<unknown[]> =>
  (await verify(artefact)).problems.map(({ kind, of, name }) => [kind, of, name]);

describe('verify', () => {
  it('accepts what was written', async () => {
    const result = await verify(artefact, { threads: 1 });
    expect(result).toMatchObject({ ok: true, problems: [], files: 6 });
    expect(result.tensors).toBe((await readReceipt(artefact)).output.tensors.length);
  });

  it('names the tensor of every single flipped bit', async () => {
    const { output } = await readReceipt(artefact);
    const bytes = readFileSync(shard());
    const head = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString('utf8', 8, head)) as Record<string, { data_offsets?: [number, number] }>;
    for (const [name, { data_offsets: offsets }] of Object.entries(header)) {
      if (offsets === undefined) continue;
      for (const at of [head + offsets[0], head + offsets[1] - 1]) {
        const damaged = Buffer.from(bytes);
        damaged[at]! ^= 0x10;
        writeFileSync(shard(), damaged);
        expect(await problemsOf()).toEqual([['damaged', 'tensor', name]]);
      }
    }
    expect(output.tensors.length).toBeGreaterThan(3);
  });

  it('names files that were edited, are missing, or do not belong', async () => {
    appendFileSync(join(artefact, 'config.json'), ' ');
    writeFileSync(
      join(artefact, 'generation_config.json'),
      readFileSync(join(artefact, 'generation_config.json'), 'utf8').replace('1', '7'),
    );
    writeFileSync(join(artefact, 'notes.txt'), '');
    expect(await problemsOf()).toEqual([
      ['damaged', 'file', 'config.json'],
      ['damaged', 'file', 'generation_config.json'],
      ['extra', 'file', 'notes.txt'],
    ]);
  });

  it('tells a missing and a cut shard', async () => {
    truncateSync(shard(), 1000);
    expect(await problemsOf()).toEqual([
      ['damaged', 'file', 'model-00001-of-00003.safetensors'],
      ['unreadable', 'artefact', artefact],
    ]);
    rmSync(shard());
    expect(await problemsOf()).toEqual([
      ['missing', 'file', 'model-00001-of-00003.safetensors'],
      ['unreadable', 'artefact', artefact],
    ]);
  });

  it('needs a receipt that was not edited', async () => {
    const path = join(artefact, 'pith-receipt.json');
    writeFileSync(
      path,
      readFileSync(path, 'utf8').replace(
        '"interventions": []',
        '"interventions": [{"weight":"w","kind":"k","detail":"d"}]',
      ),
    );
    await expect(verify(artefact)).rejects.toMatchObject({ code: 'RECEIPT_INVALID' });
    rmSync(path);
    await expect(verify(artefact)).rejects.toMatchObject({ code: 'RECEIPT_MISSING' });
  });
});
