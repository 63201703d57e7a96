// A format whose layout the kernels do not write is arranged from codes in memory. With the layout of compressed-tensors
// both ways must give the same bytes, digests and errors.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openOutput } from '@pith/checkpoint/node';
import { createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { preparePlan } from '../plan/plan.ts';
import type { Unit } from '../plan/units.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import type { Journal, JournalUnit } from './journal.ts';
import { treeHash } from './hash-tree.ts';
import { runUnits } from './run-units.ts';

let root: string;
let pool: KernelPool;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-encode-'));
  pool = createKernelPool({ threads: 2 });
  writeSyntheticModel(join(root, 'model'), { layers: 1, hidden: 96, feedForward: 160, vocabulary: 64 });
});
afterAll(async () => {
  await pool.dispose();
  rmSync(root, { recursive: true });
});

it.each(['w4g32', 'w3-asym', 'w8-tensor-asym', 'fp8'])(
  'arranged in memory equals written by kernels: %s',
  async (scheme) => {
    const prepared = await preparePlan(join(root, 'model'), { scheme });
    const { format, context } = prepared;
    const written = async (units: readonly Unit[], name: string) => {
      const output = await openOutput(join(root, name), prepared.layout);
      const journal = { append: () => undefined } as unknown as Journal;
      const done = await runUnits(units, { pool, output, journal, finished: new Map(), format, context });
      await pool.closeFiles();
      await output.writeFile('config.json', '{}');
      await output.finish();
      await output.publish();
      await output.close();
      return { done, bytes: readFileSync(join(root, name, 'model.safetensors')) };
    };
    const arranged = prepared.units.map((unit): Unit =>
      unit.kind === 'quantize'
        ? { ...unit, kind: 'encode', outputs: unit.outputs.map(({ name }) => ({ name, role: 'encoded' })) }
        : unit,
    );
    const kernels = await written(prepared.units, `${scheme}-kernels`);
    const memory = await written(arranged, `${scheme}-memory`);
    expect(memory.bytes.equals(kernels.bytes)).toBe(true);
    const said = (units: readonly JournalUnit[]) =>
      units.map(({ unit, error, read, wrote }) => ({
        ...{ unit, error, read: treeHash(read.leaves) },
        wrote: wrote.map(({ name, leaves }) => [name, treeHash(leaves)]),
      }));
    expect(said(memory.done)).toEqual(said(kernels.done));
  },
);
