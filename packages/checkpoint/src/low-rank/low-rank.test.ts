import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  denseWeight,
  factoredWeight,
  memoryBlock,
  memoryBytes,
  quantizedWeight,
  randomStream,
} from '@pith/tensor-core';
import type { DenseWeight, WeightTensor } from '@pith/tensor-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openCheckpointFrom } from '../huggingface/checkpoint.ts';
import { openCheckpoint } from '../node/open-checkpoint.ts';
import { saveCheckpoint } from '../node/save-checkpoint.ts';
import { planOutput } from '../safetensors/plan-output.ts';
import { memoryStore } from '../testing/memory-store.fixture.ts';
import { mutate } from '../testing/mutate.fixture.ts';

const dense = (name: string, shape: readonly number[], step = 1): DenseWeight => {
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(step * (i + 1)));
  return denseWeight({ name, dtype: 'f32', shape, source: memoryBytes(new Uint8Array(values.buffer)) });
};
const quantized = (name: string, [rows, columns]: readonly [number, number]) => {
  const scheme = {
    kind: 'int',
    bits: 4,
    symmetric: true,
    granularity: { kind: 'channel' },
    scaleDType: 'f32',
  } as const;
  const codes = Int8Array.from({ length: rows * columns }, (_, i) => (i % 16) - 8);
  const scales = Float32Array.from({ length: rows }, (_, i) => 0.25 * (i + 1));
  return quantizedWeight({
    name,
    shape: [rows, columns],
    scheme,
    read: memoryBlock({ codes, scales }, scheme, rows, columns),
  });
};

describe('factored weights in a checkpoint', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'pith-low-rank-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('are stored as two linears and read as one weight', async () => {
    // Names of the factors themselves do not matter.
    const factored = factoredWeight({ name: 'a.q.weight', left: dense('any', [6, 2]), right: dense('any', [2, 5], 3) });
    const weights: WeightTensor[] = [dense('norm.weight', [5]), factored, dense('a.q.bias', [6])];
    const configText = '{\n  "rope_theta": 10000.0\n}';
    await saveCheckpoint(join(root, 'out'), { configText, weights });
    const checkpoint = await openCheckpoint(join(root, 'out'));
    expect(checkpoint.config['pith_low_rank']).toEqual({ version: 1, modules: { 'a.q': 2 } });
    expect(checkpoint.configText).toContain('10000.0');
    expect([...checkpoint.tensors.keys()].sort()).toEqual([
      'a.q.bias',
      'a.q.left.weight',
      'a.q.right.weight',
      'norm.weight',
    ]);
    expect([...checkpoint.weights.keys()].sort()).toEqual(['a.q.bias', 'a.q.weight', 'norm.weight']);
    const read = checkpoint.weight('a.q.weight');
    expect(read).toMatchObject({ kind: 'factored', rank: 2, shape: [6, 5], byteLength: factored.byteLength });
    expect(await read.toF32()).toEqual(await factored.toF32());
    await checkpoint.close();

    // Restored to dense, the entry goes.
    const whole = new Uint8Array((await factored.toF32()).buffer);
    const restored = denseWeight({ name: 'a.q.weight', dtype: 'f32', shape: [6, 5], source: memoryBytes(whole) });
    await saveCheckpoint(join(root, 'dense'), { configText: checkpoint.configText, weights: [restored] });
    expect((await openCheckpoint(join(root, 'dense'))).config).toEqual({ rope_theta: 10000 });
  });

  it('may have quantized factors', async () => {
    const factored = factoredWeight({
      name: 'a.q.weight',
      left: quantized('a.q.left.weight', [6, 4]),
      right: quantized('a.q.right.weight', [4, 8]),
    });
    await saveCheckpoint(join(root, 'out'), { configText: '{}', weights: [factored], ignore: ['lm_head'] });
    const checkpoint = await openCheckpoint(join(root, 'out'));
    const read = checkpoint.weight('a.q.weight');
    expect(read).toMatchObject({ kind: 'factored', left: { kind: 'quantized' }, right: { kind: 'quantized' } });
    expect(await read.toF32()).toEqual(await factored.toF32());
    await checkpoint.close();
  });

  it('need a name that a module has', async () => {
    const factored = factoredWeight({ name: 'matrix', left: dense('l', [6, 2]), right: dense('r', [2, 5]) });
    const saving = saveCheckpoint(join(root, 'out'), { configText: '{}', weights: [factored] });
    await expect(saving).rejects.toMatchObject({ code: 'LOW_RANK_NAME' });
  });
});

const tensors = [
  { name: 'q.left.weight', dtype: 'f32', shape: [6, 2] },
  { name: 'q.right.weight', dtype: 'f32', shape: [2, 5] },
  { name: 'other.weight', dtype: 'f32', shape: [2, 5] },
] as const;
const shard = (list: Parameters<typeof planOutput>[0]) => {
  const [planned] = planOutput(list).files;
  const bytes = new Uint8Array(planned!.byteLength);
  bytes.set(planned!.head);
  return bytes;
};
const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const open = (entry: unknown, list: Parameters<typeof planOutput>[0] = tensors) =>
  openCheckpointFrom(
    memoryStore(
      new Map([
        ['config.json', text({ pith_low_rank: entry })],
        ['model.safetensors', shard(list)],
      ]),
    ),
  );

describe('a malformed entry', () => {
  it.each([
    ['another version', { version: 2, modules: {} }, 'LOW_RANK_CONFIG_INVALID', 'version: must be 1'],
    ['no modules', { version: 1 }, 'LOW_RANK_CONFIG_INVALID', 'modules: must be'],
    ['an unknown member', { version: 1, module: {}, modules: {} }, 'LOW_RANK_CONFIG_INVALID', 'did you mean modules'],
    ['a rank of 0', { version: 1, modules: { q: 0 } }, 'LOW_RANK_CONFIG_INVALID', 'modules.q'],
    ['half a rank', { version: 1, modules: { q: 1.5 } }, 'LOW_RANK_CONFIG_INVALID', 'modules.q'],
    ['no object', [1], 'LOW_RANK_CONFIG_INVALID', 'must be'],
    ['a long path', { version: 1, modules: { ['x'.repeat(2000)]: 1 } }, 'LOW_RANK_CONFIG_INVALID', 'modules'],
    [
      'another rank',
      { version: 1, modules: { q: 3 } },
      'LOW_RANK_FACTOR_SHAPE',
      'it must be [3, in features], got [2, 5]',
    ],
    ['a module that is not there', { version: 1, modules: { k: 2 } }, 'LOW_RANK_FACTOR_MISSING', '"k.right.weight"'],
  ])('with %s is refused', async (_, entry, code, part) => {
    const opening = open(entry);
    await expect(opening).rejects.toMatchObject({ code });
    await expect(opening).rejects.toThrow(part);
  });

  it('and factors that do not fit it are refused by name', async () => {
    const entry = { version: 1, modules: { q: 2 } };
    const [left, right] = tensors;
    await expect(open(entry, [right])).rejects.toThrow(/LOW_RANK_FACTOR_MISSING|"q.left.weight"/);
    const cases = [
      [
        [{ ...left, shape: [6, 3] }, right],
        'LOW_RANK_FACTOR_SHAPE',
        /"q.left.weight".*\[out features, 2\], got \[6, 3\]/,
      ],
      [[{ ...left, shape: [12] }, right], 'LOW_RANK_FACTOR_SHAPE', /"q.left.weight"/],
      [[left, right, { name: 'q.weight', dtype: 'f32', shape: [6, 5] }], 'LOW_RANK_WEIGHT_TWICE', /"q.weight"/],
      [[left, { ...right, dtype: 'f4', shape: [2, 6] }], 'LOW_RANK_FACTOR_MISSING', /"q.right.weight"/],
    ] as const;
    for (const [list, code, message] of cases) {
      await expect(open(entry, list)).rejects.toMatchObject({ code });
      await expect(open(entry, list)).rejects.toThrow(message);
    }
  });

  it('null is none', async () => {
    expect([...(await open(null)).weights.keys()]).toHaveLength(3);
  });

  it('opens or is refused with a PithError, however it is broken', async () => {
    const random = randomStream(20261123, 'low-rank');
    const base = text({ pith_low_rank: { version: 1, modules: { q: 2, other: 1, k: 3 } } });
    const good = text({ pith_low_rank: { version: 1, modules: { q: 2 } } });
    const codes = new Map<string, number>();
    for (let i = 0; i < 2000; i++) {
      const files = new Map([
        ['config.json', mutate(i % 2 ? base : good, random)],
        ['model.safetensors', i % 4 < 2 ? mutate(shard(tensors), random) : shard(tensors)],
      ]);
      let code = 'accepted';
      try {
        for (const weight of (await openCheckpointFrom(memoryStore(files))).weights.values()) {
          expect((await weight.toF32()).length).toBe(weight.shape.reduce((a, b) => a * b, 1));
        }
      } catch (error) {
        const { code: found, kind, message } = error as { code?: string; kind?: string; message: string };
        if (kind !== 'input' || found === undefined) throw new Error(`case ${i}: ${message}`, { cause: error });
        code = found;
      }
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    for (const code of ['accepted', 'LOW_RANK_CONFIG_INVALID', 'LOW_RANK_FACTOR_MISSING', 'LOW_RANK_FACTOR_SHAPE']) {
      expect(codes.get(code) ?? 0, code).toBeGreaterThan(5);
    }
  });
});
