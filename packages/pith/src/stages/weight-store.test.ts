import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  denseWeight,
  factoredWeight,
  fromF32,
  memoryBlock,
  memoryBytes,
  quantizedWeight,
  type DenseWeight,
  type IntegerScheme,
  type QuantizedWeight,
} from '@pith/tensor-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openWeightStore, type WeightStore } from './weight-store.ts';

const open: WeightStore[] = [];
let root: string;
let count = 0;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-store-'));
});
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
});
afterAll(() => rmSync(root, { recursive: true }));

async function storeAt(directory: string): Promise<WeightStore> {
  const store = await openWeightStore(directory);
  open.push(store);
  return store;
}

function dense(name: string, rows: number, columns: number, dtype: 'f32' | 'bf16' = 'bf16'): DenseWeight {
  const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i + rows));
  return denseWeight({ name, dtype, shape: [rows, columns], source: memoryBytes(fromF32(dtype, values)) });
}

function quantized(name: string, rows: number, columns: number, extra: Partial<QuantizedWeight> = {}): QuantizedWeight {
  const scheme: IntegerScheme = {
    kind: 'int',
    bits: 4,
    symmetric: false,
    granularity: { kind: 'group', size: 2 },
    scaleDType: 'bf16',
  };
  const groups = (rows * columns) / 2;
  const block = {
    codes: Int8Array.from({ length: rows * columns }, (_, i) => (i % 16) - 8),
    scales: Float32Array.from({ length: groups }, (_, i) => 2 ** -(i % 5)),
    zeroPoints: Int8Array.from({ length: groups }, (_, i) => (i % 3) - 1),
  };
  return quantizedWeight({
    name,
    shape: [rows, columns],
    scheme,
    read: memoryBlock(block, scheme, rows, columns),
    ...extra,
  });
}

describe('a group of weights', () => {
  it('comes back as it was, in every representation, with its facts', async () => {
    const directory = join(root, String(count++));
    const groupIndex = Int32Array.of(1, 0, 1, 0);
    const activations = { kind: 'tensor-static', dtype: 'i8', symmetric: true, scale: 0.5, zeroPoint: 0 } as const;
    const weights = [
      dense('a.weight', 5, 4),
      quantized('b.weight', 3, 4),
      quantized('c.weight', 3, 4, { groupIndex, activations }),
      factoredWeight({ name: 'd.weight', left: quantized('l', 6, 2), right: dense('r', 2, 4, 'f32') }),
    ];
    await (await storeAt(directory)).write('block-0', weights, { records: { a: 1 } });
    const read = await (await storeAt(directory)).read('block-0');
    expect(read!.facts).toEqual({ records: { a: 1 } });
    expect([...read!.weights.keys()]).toEqual(weights.map(({ name }) => name));
    for (const weight of weights) {
      const back = read!.weights.get(weight.name)!;
      expect(back).toMatchObject({
        kind: weight.kind,
        name: weight.name,
        shape: weight.shape,
        byteLength: weight.byteLength,
      });
      expect(await back.toF32()).toEqual(await weight.toF32());
      expect(await back.toF32(1, 2)).toEqual(await weight.toF32(1, 2));
    }
    expect(read!.weights.get('c.weight')).toMatchObject({ groupIndex, activations });
  });

  it('is not there when it is absent, torn or damaged', async () => {
    const directory = join(root, String(count++));
    const store = await storeAt(directory);
    expect(await store.read('block-0')).toBeNull();
    await store.write('block-0', [dense('a.weight', 5, 4)], null);
    const file = join(directory, 'block-0.safetensors');
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, bytes.length - 1));
    expect(await store.read('block-0')).toBeNull();
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
    expect(await store.read('block-0')).toBeNull();
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
    expect(await store.read('block-0')).not.toBeNull();
    const facts = join(directory, 'block-0.json');
    writeFileSync(facts, readFileSync(facts, 'utf8').slice(0, 20));
    expect(await store.read('block-0')).toBeNull();
  });
});
