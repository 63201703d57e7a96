// A file that llama-imatrix measured, and what llama-quantize made of stories260k with it (stories260k/imatrix.json has the calls):
// our tensors are the same bytes, and our own measurement of the same text agrees with the file.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openGguf, readImatrix } from '@pith/checkpoint';
import { ggufTensors } from '@pith/model';
import { openModel } from '@pith/model/node';
import { mixtureOf } from '@pith/quant';
import { memoryBytes } from '@pith/tensor-core';
import { createKernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../../run/hash-tree.ts';
import { exportModel } from '../export-model.ts';
import { measureImportance } from './measure-importance.ts';

interface Golden {
  readonly imatrix: { readonly file: string };
  readonly types: Readonly<Record<string, { readonly tensorSha256: Readonly<Record<string, string>> }>>;
}

const { imatrix, types } = (
  hasShared ? JSON.parse(readFileSync(shared('golden/stories260k/imatrix.json'), 'utf8')) : { imatrix: {}, types: {} }
) as Golden;
// No type of Q8_0 has a use for importances: it is refused.
const kinds = Object.keys(types).filter((kind) => mixtureOf(kind.toLowerCase()) !== undefined && kind !== 'Q8_0');
const file = () => shared(`golden/stories260k/${imatrix.file}`);

describe.skipIf(!hasShared)('the importance matrix of llama-imatrix', () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'pith-imatrix-golden-'));
  });
  afterAll(() => rmSync(root, { recursive: true }));

  it.each(kinds)('gives the tensors of llama-quantize: %s', async (kind) => {
    const output = join(root, `${kind}.gguf`);
    const options = { format: `gguf:${kind}`, output, importance: file(), threads: 1 };
    await exportModel(shared('models/stories260k'), options);
    const { tensors } = await openGguf(memoryBytes(readFileSync(output)), output);
    const hashes: Record<string, string> = {};
    for (const [name, { source, byteLength }] of tensors) hashes[name] = sha256(await source.read(0, byteLength));
    const expected = types[kind]!.tensorSha256;
    const differing = Object.keys(expected).filter((name) => hashes[name] !== expected[name]);
    expect(differing).toEqual([]);
  });

  it('is what a calibration on the same text measures', async () => {
    const bytes = readFileSync(file());
    const { entries, chunks, form } = await readImatrix(memoryBytes(bytes), imatrix.file);
    expect({ chunks, form, entries: entries.size }).toEqual({ chunks: 113, form: 'gguf', entries: 35 });
    const model = await openModel(shared('models/stories260k'));
    const calibration = { text: shared('golden/stories260k/stories-eval.txt'), samples: 113, context: 256 };
    const request = { name: 'x', threads: 1, seed: 0, calibration };
    const pool = createKernelPool({ threads: 1 });
    const measured = await measureImportance(model, ggufTensors(model.architecture), request, {
      directory: root,
      pool,
    });
    await pool.dispose();
    await model.close();
    expect([...measured.keys()].sort()).toEqual([...entries.keys()].sort());
    for (const [name, { meanSquares }] of entries) {
      const own = measured.get(name)!.meanSquares;
      let [difference, total] = [0, 0];
      meanSquares.forEach((value, i) => {
        difference += Math.abs(value - own[i]!);
        total += value;
      });
      // Windows are cut otherwise: of 255 tokens behind BOS here, of 256 of which the first becomes BOS there.
      expect(difference / total, name).toBeLessThan(0.02);
    }
  });
});
